// Ways to look at a picture. The original is always a key away and never replaced unasked.

import * as api from "./api.js";
import { isTold } from "./asking.js";

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
      const choice = document.createElement("label");
      choice.title = notes[name] ?? label;
      const input = Object.assign(document.createElement("input"), {
        type: "radio", name: "view", value: name, onchange: () => this.choose(name),
      });
      choice.append(input, Object.assign(document.createElement("span"), { textContent: label }));
      if (key) {
        const hint = document.createElement("kbd");
        hint.textContent = key.toUpperCase();
        choice.append(hint);
      }
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
  const response = await fetch(api.viewUrl(id, name)).catch(() => null);
  if (!response) {
    throw new api.ConsoleError({
      reason: "NO_CONSOLE", message: "the console does not answer",
      fix: "see whether apsam-console still runs", retryAfter: 2,
    });
  }
  if (!response.ok) throw await api.refusal(response);
  return createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
}
