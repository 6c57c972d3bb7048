// Ways to look at a picture. The original is always a key away and never replaced unasked.

import * as api from "./api.js";
import { isTold } from "./asking.js";
import { element } from "./element.js";

const KNOWN = {
  original: ["Original", "o"],
  inverse: ["Inverse", "i"],
  grey: ["Grey", "g"],
  energy_max: ["Max", "e", "max energy"],
  energy_min: ["Min", "d", "min energy"],
  organic: ["Organic", "r"],
  metal: ["Metal", "t"],
  heat: ["Heat", "h"],
};

export const VIEW_KEYS = Object.entries(KNOWN).map(
  ([name, [label, key, words = label.toLowerCase()]]) => ({ name, words, key }),
);

export class Views {
  #app;
  #cards;
  #root;

  constructor(app, cards, root) {
    this.#app = app;
    this.#cards = cards;
    this.#root = root;
    app.onChange(() => this.#render());
  }

  /** One radio button per view that the console has. */
  build(names, notes = {}) {
    for (const name of names) {
      const [label, key] = KNOWN[name] ?? [name.replaceAll("_", " "), ""];
      const onchange = () => this.choose(name);
      const choice = element("label", { title: notes[name] ?? label },
        element("input", { type: "radio", name: "view", value: name, onchange }),
        element("span", {}, label));
      if (key) choice.append(element("kbd", {}, key.toUpperCase()));
      this.#root.append(choice);
    }
  }

  /** Show a view as soon as it is here; what was shown stays until then. */
  async choose(name) {
    const app = this.#app;
    if (!app.image || !app.info.views.includes(name)) return;
    app.view = name;
    app.changed();
    const { id } = app.image;
    try {
      const bitmap = app.bitmaps.get(name)
        ?? await this.#cards.attempt("view", () => fetchBitmap(id, name), {
          again: () => this.choose(name),
        });
      if (app.image?.id !== id) return;
      app.bitmaps.set(name, bitmap);
      if (app.view === name) app.shown = name;
      app.say(`${KNOWN[name]?.[0] ?? name} view`);
    } catch (error) {
      if (!isTold(error)) throw error;
      app.view = app.shown ?? "original";
    }
    app.changed();
  }

  #render() {
    const app = this.#app;
    for (const input of this.#root.querySelectorAll("input")) {
      input.checked = input.value === app.view;
      input.disabled = !app.image;
    }
    const seeing = document.getElementById("seeing");
    const label = KNOWN[app.shown]?.[0] ?? app.shown;
    const note = app.info?.view_notes?.[app.shown];
    const enhanced = app.image && app.shown && app.shown !== "original" && !app.peek;
    const text = enhanced ? `${label} view${note ? `: ${note}` : ""}. O shows the original.` : "";
    if (seeing.textContent !== text) seeing.textContent = text;
    seeing.hidden = !text;
  }
}

/** A view's pixels, unchanged by any colour profile. */
async function fetchBitmap(id, name) {
  return createImageBitmap(await api.view(id, name), { colorSpaceConversion: "none" });
}
