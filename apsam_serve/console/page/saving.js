// Keeps the console's project equal to what the page shows, one change after the other.

import * as api from "./api.js";
import { isTold } from "./asking.js";
import { begin, difference, joined } from "./state.js";

export class Saving {
  #app;
  #cards;
  #held = new Map(); // image id -> Map of object key -> what is saved of it
  #chain = Promise.resolve();
  #open = 0;

  constructor(app, cards) {
    this.#app = app;
    this.#cards = cards;
    addEventListener("beforeunload", (event) => {
      if (this.#open) event.preventDefault();
    });
  }

  /** The saved objects of an image become the start of its history. */
  async load(id) {
    const rows = await this.#cards.attempt("objects", () => api.objects(id));
    if (this.#app.histories.has(id)) return;
    this.#held.set(id, new Map());
    this.#app.histories.set(id, begin({ draft: null, objects: this.#take(id, rows) }));
  }

  /** Learn of objects that an import has put into the project beside this page's own; what can be
   * undone stays. */
  catchUp() {
    return this.#next(async () => {
      const { histories } = this.#app;
      for (const id of [...histories.keys()]) {
        const rows = await this.#cards.attempt("objects", () => api.objects(id));
        const known = new Set([...this.#held.get(id).values()].map((one) => one.id));
        const arrived = this.#take(id, rows.filter((row) => !known.has(row.id)));
        histories.set(id, joined(histories.get(id), arrived));
      }
      this.#app.changed();
    });
  }

  /** Save what the picture's history shows now. */
  settle(id) {
    return this.#next(() => this.#settle(id));
  }

  /** Rows of the project as objects, which are saved. */
  #take(id, rows) {
    const objects = rows.map((row) => ({ ...row, key: `saved${row.id}`, suggestion: null }));
    for (const one of objects) {
      this.#held.get(id).set(one.key, one);
      this.#app.saved.set(one.key, "saved");
    }
    return objects;
  }

  #next(work) {
    this.#open += 1;
    this.#chain = this.#chain
      .then(work)
      .catch((error) => {
        if (!isTold(error)) throw error;
      })
      .finally(() => {
        this.#open -= 1;
      });
    return this.#chain;
  }

  async #settle(id) {
    const held = this.#held.get(id);
    for (;;) {
      const wanted = this.#app.histories.get(id).present.objects;
      const [next] = difference(held, wanted);
      if (!next) return;
      const { key } = next.object;
      this.#state(key, "saving");
      try {
        await this.#cards.attempt("save", (tries) => this.#carryOut(id, held, next, tries), {
          again: () => this.settle(id),
        });
        this.#state(key, "saved");
      } catch (error) {
        this.#state(key, "failed");
        throw error;
      }
    }
  }

  async #carryOut(id, held, { kind, object }, tries) {
    const { key, category, verdict } = object;
    if (kind === "add") {
      const earlier = tries ? await this.#arrived(id, held, object) : undefined;
      const row = earlier ?? (await this.#add(id, object));
      held.set(key, { ...object, id: row.id });
    } else if (kind === "change") {
      const before = held.get(key);
      await api.changeObject(before.id, { category, verdict });
      held.set(key, { ...before, category, verdict });
    } else {
      await api.removeObject(object.id).catch((error) => {
        if (error.status !== 404) throw error; // gone is what was wanted
      });
      held.delete(key);
    }
    this.#app.image = this.#counted(id, held);
  }

  /** Reviewer and round come back with an object whose removal is undone; a new one has none. */
  #add(id, { category, mask, score, source, verdict, prompt, model_digest, reviewer, round }) {
    const object = { category, mask, score, source, verdict, prompt, model_digest };
    return api.saveObject(id, { ...object, reviewer, round });
  }

  /** What an earlier try saved although its answer was lost. */
  async #arrived(id, held, object) {
    const known = new Set([...held.values()].map((one) => one.id));
    const rows = await api.objects(id);
    return rows.find((row) => !known.has(row.id) && row.mask.counts === object.mask.counts);
  }

  #counted(id, held) {
    const app = this.#app;
    const count = [...held.values()].filter((one) => one.verdict !== "rejected").length;
    app.images = app.images.map((row) => (row.id === id ? { ...row, num_objects: count } : row));
    return app.images.find((row) => row.id === app.image?.id) ?? null;
  }

  #state(key, state) {
    this.#app.saved.set(key, state);
    this.#app.changed();
  }
}
