// What keys, buttons and the pointer do. Each method is one thing that a person can ask for.

import * as api from "./api.js";
import { isTold } from "./asking.js";
import { shapeOf } from "./shapes.js";
import * as state from "./state.js";
import { reveal } from "./viewport.js";

const LEAST_BOX = 3;

export class Actions {
  #app;
  #parts;
  #acceptWhenAnswered = null; // token of a question

  /** parts: {asking, cards, dialogs, looking, saving, views}. */
  constructor(app, parts) {
    this.#app = app;
    this.#parts = parts;
    parts.asking.onAnswer = (token) => {
      if (this.#acceptWhenAnswered === token) this.accept();
    };
  }

  /** Put a picture on the stage. */
  async show(id) {
    const app = this.#app;
    const { asking, cards, looking, saving, views } = this.#parts;
    if (app.image?.id === id) return;
    asking.stop();
    for (const name of ["segment", "open", "view", "propose"]) cards.close(name);
    app.image = app.images.find((one) => one.id === id);
    for (const bitmap of app.bitmaps.values()) bitmap.close();
    app.bitmaps = new Map();
    app.shown = app.selected = app.cross = app.corner = app.timings = null;
    app.suggestions = [];
    app.note = "Loading the picture";
    looking.fit();
    const { name, width, height } = app.image;
    const label = `${name}, ${width} by ${height} pixels`;
    document.getElementById("picture").setAttribute("aria-label", label);
    document.title = `${name} - APSAM console`;
    history.replaceState(null, "", `#${id}`);
    try {
      await Promise.all([views.choose("original"), saving.load(id)]);
    } catch (error) {
      if (!isTold(error)) throw error;
      if (app.image?.id === id) app.image = null;
    }
    app.changed();
    if (app.image?.id === id) {
      await asking.open(id);
      if (app.image?.id !== id) return;
      asking.ask();
      asking.prepare(this.#following(id));
    }
  }

  /** The picture that `finish` will go to, undefined where all others are done. */
  #following(id) {
    const { images } = this.#app;
    const at = images.findIndex((row) => row.id === id);
    return [...images.slice(at + 1), ...images.slice(0, at)].find((row) => row.status !== "done");
  }

  turn(by) {
    const { images, image } = this.#app;
    const next = images[images.findIndex((one) => one.id === image?.id) + by];
    if (next) this.show(next.id);
  }

  // Asking

  /** A click on the object, or beside it. */
  click(point) {
    const app = this.#app;
    if (!app.loaded) return;
    const { draft } = app.work;
    if (!point.positive && !draft) {
      const text = "The right button says what does not belong to an object";
      this.#parts.cards.note("first", "First click on the object", text);
      return;
    }
    const { x, y, positive } = point;
    app.selected = null;
    this.#step(state.withPoint(app.work, { x, y, positive }));
    this.#parts.asking.ask();
  }

  box(from, to) {
    const [left, right] = [from.x, to.x].sort((a, b) => a - b);
    const [top, bottom] = [from.y, to.y].sort((a, b) => a - b);
    if (!this.#app.loaded || right - left < LEAST_BOX || bottom - top < LEAST_BOX) return;
    this.#step(state.withBox(this.#app.work, { left, top, right, bottom }));
    this.#parts.asking.ask();
  }

  /** A click at the keyboard's cross. */
  point(positive) {
    const at = this.#parts.looking.cross();
    if (at) this.click({ ...at, positive });
  }

  corner() {
    const app = this.#app;
    const at = this.#parts.looking.cross();
    if (!at) return;
    if (app.corner) {
      this.box(app.corner, at);
      app.corner = null;
    } else {
      app.corner = at;
      app.say("First corner of the box");
    }
    app.changed();
  }

  suggest() {
    if (this.#app.loaded) return this.#parts.asking.suggest();
  }

  strategy() {
    const app = this.#app;
    app.strategy = app.strategy === "apg" ? "direct" : "apg";
    app.say(app.strategy === "apg" ? "Adaptive points" : "Direct");
    if (app.work.draft) {
      this.#step(state.askedAnew(app.work));
      this.#parts.asking.ask();
    }
    app.changed();
  }

  // The object in work

  accept() {
    const app = this.#app;
    const { draft } = app.work;
    this.#acceptWhenAnswered = null;
    if (!draft) {
      const one = app.openSuggestions.find(({ key }) => key === app.selected);
      if (!one) return;
      this.#step(state.accepted(state.withSuggestion(app.work, one), app.strategy));
    } else if (!state.isAnswered(draft)) {
      this.#acceptWhenAnswered = draft.token;
      return;
    } else if (shapeOf(draft.answer.mask).mask.area) {
      this.#step(state.accepted(app.work, app.strategy));
    } else return;
    const { category } = app.work.objects.at(-1);
    app.say(`Accepted ${category ?? "without category"}`);
    app.selected = app.openSuggestions[0]?.key ?? null;
    this.#save();
  }

  drop() {
    const app = this.#app;
    if (app.corner) app.corner = null;
    else if (app.work.draft) {
      this.#parts.asking.stop();
      this.#step(state.withoutDraft(app.work));
      app.say("Dropped");
    } else app.selected = null;
    app.changed();
  }

  take(key) {
    const app = this.#app;
    const one = app.openSuggestions.find((suggestion) => suggestion.key === key);
    if (!one) return;
    this.#parts.asking.stop();
    app.selected = null;
    this.#step(state.withSuggestion(app.work, one));
    app.say(`${one.answer.category ?? "No category"}, score ${one.answer.score.toFixed(2)}`);
  }

  async category() {
    const app = this.#app;
    const object = this.#object();
    if (!app.work.draft && !object) return;
    const now = (app.work.draft ?? object).category;
    const chosen = await this.#parts.dialogs.category(now);
    if (chosen !== undefined) this.#name(chosen);
  }

  /** The category of that number, by one key. */
  named(index) {
    if (this.#app.work.draft || this.#object()) this.#name(this.#app.info.categories[index]);
  }

  #name(category) {
    const app = this.#app;
    const object = this.#object();
    if (app.work.draft) this.#step(state.withCategory(app.work, category));
    else if (object && object.category !== category) {
      const verdict = object.source !== "click" && object.verdict === "accepted"
        ? "corrected" : object.verdict;
      this.#step(state.changed(app.work, object.key, { category, verdict }));
      this.#save();
    }
    app.say(category ?? "No category");
  }

  // The lists

  select(key) {
    const app = this.#app;
    app.selected = app.selected === key ? null : key;
    const object = this.#object();
    if (object) app.say(`${object.category ?? "No category"}, ${object.verdict}`);
    app.changed();
  }

  next(by) {
    const app = this.#app;
    const all = [...app.openSuggestions, ...app.work.objects];
    if (!all.length) return;
    const at = all.findIndex((one) => one.key === app.selected);
    const one = all[(at < 0 ? (by > 0 ? 0 : -1) : at + by + all.length) % all.length] ?? all.at(-1);
    app.selected = one.key;
    const answer = one.answer ?? one;
    const kind = one.answer ? "Suggestion" : `Object, ${one.verdict}`;
    app.say(`${kind}: ${answer.category ?? "no category"}`);
    const { mask } = shapeOf(answer.mask);
    const middle = { x: (mask.left + mask.right) / 2, y: (mask.top + mask.bottom) / 2 };
    app.place = reveal(app.place, middle, app.stage);
    app.changed();
  }

  reject() {
    const app = this.#app;
    const suggestion = app.openSuggestions.find(({ key }) => key === app.selected);
    const object = this.#object();
    const { draft } = app.work;
    if (draft?.source === "proposal" && state.isAnswered(draft)) {
      this.#step(state.accepted(app.work, app.strategy, "rejected"));
    } else if (suggestion) {
      const taken = state.withSuggestion({ ...app.work, draft: null }, suggestion);
      const rejected = state.accepted(taken, app.strategy, "rejected");
      this.#step({ ...rejected, draft });
    } else if (object) {
      const verdict = object.verdict === "rejected" ? "accepted" : "rejected";
      this.#step(state.changed(app.work, object.key, { verdict }));
    } else return;
    if (!object) app.selected = app.openSuggestions[0]?.key ?? null;
    app.say("Rejected");
    this.#save();
  }

  remove() {
    const object = this.#object();
    if (!object) return;
    this.#step(state.without(this.#app.work, object.key));
    this.#app.selected = null;
    this.#app.say("Deleted");
    this.#save();
  }

  undo() {
    this.#travel(state.undo(this.#app.history), "Undone");
  }

  redo() {
    this.#travel(state.redo(this.#app.history), "Done again");
  }

  #travel(history, word) {
    const app = this.#app;
    if (!app.image || history === app.history) return;
    this.#acceptWhenAnswered = null;
    app.history = history;
    app.say(word);
    this.#save();
    this.#parts.asking.ask();
  }

  // Pictures

  async finish() {
    const app = this.#app;
    const { image } = app;
    if (!image) return;
    if (app.work.draft) {
      const text = "Enter accepts the object in work, Esc drops it; then the picture can be done";
      this.#parts.cards.note("finish", "One object is still in work", text);
      return;
    }
    const status = image.status === "done" ? "open" : "done";
    try {
      await this.#parts.cards.attempt("finish", () => api.setStatus(image.id, status), {
        again: () => this.finish(),
      });
    } catch (error) {
      if (!isTold(error)) throw error;
      return;
    }
    app.images = app.images.map((row) => (row.id === image.id ? { ...row, status } : row));
    app.image = app.images.find((row) => row.id === app.image.id);
    app.say(status === "done" ? "Picture done" : "Picture not done");
    app.changed();
    const next = this.#following(image.id);
    if (status === "done" && next) this.show(next.id);
  }

  add() {
    this.#parts.dialogs.add();
  }

  export() {
    this.#parts.dialogs.export();
  }

  help() {
    this.#parts.dialogs.help();
  }

  #object() {
    const { work, selected } = this.#app;
    return work.objects.find((one) => one.key === selected);
  }

  #step(work) {
    this.#app.history = state.step(this.#app.history, work);
    this.#app.changed();
  }

  #save() {
    this.#parts.saving.settle(this.#app.image.id);
    this.#app.changed();
  }
}
