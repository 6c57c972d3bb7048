// Categories, keys, adding pictures, exports. Each is a <dialog>, so Esc and focus are the
// browser's.

import * as api from "./api.js";
import { isTold } from "./asking.js";
import { CATEGORY_KEYS, describe, nameOf } from "./keys.js";

const ASK_EVERY_MS = 400;
const EXPORTS = {
  coco: "COCO: run lengths and polygons, one JSON file",
  png: "PNG masks, one file per object, and index.csv",
  labelme: "labelme, one JSON file per picture",
  yolo: "YOLO segmentation, one text file per picture, and names",
  dicos: "Polygons as DICOS TDR threats hold them, JSON",
  review: "What apsam-train annotate accept takes back",
};

export class Dialogs {
  #app;
  #cards;
  #at = (id) => document.getElementById(id);
  #choose = () => {};
  onAdded = async () => {};

  constructor(app, cards) {
    this.#app = app;
    this.#cards = cards;
    describe(this.#at("key-list"));
    this.#at("categories").addEventListener("keydown", (event) => this.#categoryKey(event));
    this.#at("categories").addEventListener("close", () => this.#choose(undefined));
    for (const [button, input] of [["pick-files", "files"], ["pick-folder", "folder"]]) {
      this.#at(button).onclick = () => this.#at(input).click();
      this.#at(input).onchange = ({ target }) => {
        this.upload([...target.files]);
        target.value = "";
      };
    }
    this.#at("import").onsubmit = (event) => {
      event.preventDefault();
      this.#import(this.#at("path").value.trim());
    };
  }

  build({ categories, exports = Object.keys(EXPORTS), images }) {
    const keyed = categories.map((name, index) => {
      const item = document.createElement("li");
      item.append(this.#categoryButton(name, CATEGORY_KEYS[index] ?? ""));
      return item;
    });
    const none = document.createElement("li");
    none.append(this.#categoryButton(null, "-"));
    this.#at("category-list").replaceChildren(...keyed, none);
    this.#at("export-list").replaceChildren(...exports.map((name) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), {
        textContent: name, onclick: () => this.#export(name),
      });
      item.append(button, EXPORTS[name] ?? "");
      return item;
    }));
    this.#at("import").hidden = images === null;
    if (images) this.#at("path").placeholder = `below ${images}`;
  }

  /** The chosen category, null for none, undefined where it stays as it is. */
  category(now) {
    return new Promise((resolve) => {
      this.#choose = resolve;
      for (const button of this.#at("category-list").querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String((button.value || null) === now));
      }
      this.#at("categories").showModal();
      this.#at("category-list").querySelector("[aria-pressed=true]")?.focus();
    });
  }

  help() {
    this.#at("keys").showModal();
  }

  add() {
    this.#at("importing").hidden = true;
    this.#at("adding").showModal();
  }

  export() {
    this.#at("export-text").textContent = "";
    this.#at("exporting").showModal();
  }

  /** Send picture files one after the other; what is refused is listed, the rest goes on. */
  async upload(files) {
    const pictures = files.filter((file) => !file.name.startsWith("."));
    if (!pictures.length) return;
    if (!this.#at("adding").open) this.#at("adding").showModal();
    const refused = [];
    let first = null;
    for (const [index, file] of pictures.entries()) {
      this.#progress(index, pictures.length, refused);
      try {
        const row = await this.#cards.attempt("upload", () => api.addImage(file).catch((error) => {
          if (error.retryAfter !== null) throw error;
          return error;
        }));
        if (row instanceof Error) refused.push({ name: file.name, why: row.message });
        else first ??= row;
      } catch (error) {
        if (!isTold(error)) throw error;
        break;
      }
    }
    this.#progress(pictures.length, pictures.length, refused);
    await this.onAdded(first);
    if (!refused.length) this.#at("adding").close();
  }

  async #export(name) {
    const text = this.#at("export-text");
    text.textContent = `Packing ${name}`;
    try {
      const packed = URL.createObjectURL(await api.exported(name));
      const link = document.createElement("a");
      Object.assign(link, { href: packed, download: `apsam-${name}.zip` }).click();
      setTimeout(() => URL.revokeObjectURL(packed), 60_000);
      text.textContent = `${name} is among your downloads`;
    } catch (error) {
      if (!isTold(error)) throw error;
      text.textContent = `${error.message}; ${error.fix}`;
    }
  }

  async #import(folder) {
    if (!folder) return;
    try {
      const { job } = await api.startImport(folder);
      for (;;) {
        const told = await this.#cards.attempt("import", () => api.importState(job));
        this.#progress(told.done, told.total, told.refused, told.error);
        if (told.finished) {
          if (told.num_objects) return location.reload(); // objects of pictures that are open here
          if (!told.refused.length && !told.error) this.#at("adding").close();
          return await this.onAdded(null);
        }
        await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      }
    } catch (error) {
      if (!isTold(error)) throw error;
      this.#progress(0, 0, [], error.message);
    }
  }

  #progress(done, total, refused, error = null) {
    this.#at("importing").hidden = false;
    Object.assign(this.#at("import-progress"), { max: Math.max(1, total), value: done });
    const taken = Math.max(0, done - refused.length);
    const rest = refused.length ? `, ${refused.length} refused` : "";
    this.#at("import-text").textContent = error ?? `${taken} of ${total} added${rest}`;
    this.#at("refused").replaceChildren(...refused.map(({ name, why }) =>
      Object.assign(document.createElement("li"), { textContent: `${name}: ${why}` })));
  }

  #categoryButton(name, key) {
    const button = Object.assign(document.createElement("button"), {
      value: name ?? "", onclick: () => this.#chosen(name),
    });
    const hint = document.createElement("kbd");
    hint.textContent = key.toUpperCase();
    button.append(hint, name ?? "No category");
    return button;
  }

  #chosen(name) {
    this.#choose(name);
    this.#choose = () => {};
    this.#at("categories").close();
  }

  #categoryKey(event) {
    const name = nameOf(event);
    if (name === "-") return this.#chosen(null);
    const category = this.#app.info.categories[CATEGORY_KEYS.indexOf(name)];
    if (!category) return;
    event.preventDefault();
    this.#chosen(category);
  }
}
