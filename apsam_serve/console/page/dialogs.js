// Categories, keys, adding pictures, exports. Each is a <dialog>, so Esc and focus are the
// browser's.

import * as api from "./api.js";
import { isTold } from "./asking.js";
import { element } from "./element.js";
import { CATEGORY_KEYS, describe, nameOf } from "./keys.js";

const ASK_EVERY_MS = 400;
const EXPORTS = {
  coco: ["COCO", "instances as run lengths and as polygons, JSON"],
  png: ["PNG masks", "a black and white picture per object, and a table"],
  labelme: ["labelme", "the pictures with a JSON file each"],
  yolo: ["YOLO", "polygons for segmentation, a text file per picture"],
  dicos: ["DICOS", "threats with polygons as a TDR holds them, JSON"],
  review: ["Review", "done pictures, for apsam-train annotate accept"],
};

export class Dialogs {
  #app;
  #cards;
  #at = (id) => document.getElementById(id);
  #choose = () => {};
  onAdded = async () => {};
  onImported = async () => {};

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
    const keyed = categories.map((name, index) => [name, CATEGORY_KEYS[index] ?? ""]);
    this.#at("category-list").replaceChildren(...[...keyed, [null, "-"]].map(
      ([name, key]) => element("li", {}, this.#categoryButton(name, key)),
    ));
    this.#at("export-list").replaceChildren(...exports.map((name) => {
      const [label, text] = EXPORTS[name] ?? [name, ""];
      const onclick = () => this.#export(name, label);
      return element("li", {}, element("button", { value: name, onclick }, label), text);
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
    if (!refused.length) this.#at("adding").close();
    await this.onAdded(first);
  }

  async #export(name, label) {
    const text = this.#at("export-text");
    text.textContent = `Packing ${label}`;
    try {
      const packed = URL.createObjectURL(await api.exported(name));
      element("a", { href: packed, download: `apsam-${name}.zip` }).click();
      setTimeout(() => URL.revokeObjectURL(packed), 60_000);
      text.textContent = `apsam-${name}.zip is among your downloads`;
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
        if (told.finished) return await this.#imported(told);
        await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      }
    } catch (error) {
      if (!isTold(error)) throw error;
      this.#progress(0, 0, [], error.message);
    }
  }

  async #imported({ objects, refused, error }) {
    if (objects) {
      await this.onImported();
      const text = sum(objects, refused.length);
      this.#at("import-text").textContent = error ?? text;
      if (!refused.length && !error) this.#cards.note("imported", "Import finished", text);
    }
    if (!refused.length && !error) this.#at("adding").close();
    await this.onAdded(null);
  }

  #progress(done, total, refused, error = null) {
    this.#at("importing").hidden = false;
    Object.assign(this.#at("import-progress"), { max: Math.max(1, total), value: done });
    const taken = Math.max(0, done - refused.length);
    const rest = refused.length ? `, ${refused.length} refused` : "";
    this.#at("import-text").textContent = error ?? `${taken} of ${total} added${rest}`;
    this.#at("refused").replaceChildren(
      ...refused.map(({ name, why }) => element("li", {}, `${name}: ${why}`)),
    );
  }

  #categoryButton(name, key) {
    const fields = { value: name ?? "", onclick: () => this.#chosen(name) };
    const hint = element("kbd", {}, key.toUpperCase());
    return element("button", fields, hint, name ?? "No category");
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

/** What became of a COCO file, in a sentence. */
function sum({ added, known, nameless }, refused) {
  const parts = [`${added} ${added === 1 ? "object" : "objects"} added`];
  if (nameless) parts.push(`${nameless} of them without a category of this project`);
  if (known) parts.push(`${known} known already`);
  if (refused) parts.push(`${refused} refused`);
  return parts.join(", ");
}
