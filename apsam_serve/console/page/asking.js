// Questions to the service about the picture on the stage, and what becomes of their answers.

import * as api from "./api.js";
import { Stopped } from "./cards.js";
import { shapeOf } from "./shapes.js";
import { adaptivePoints, answered, fresh, isAnswered } from "./state.js";

/** Whether an error needs nothing more: a newer question came, or a card has told of it. */
export function isTold(error) {
  return error.name === "AbortError"
    || [Stopped, api.ConsoleError].some((kind) => error instanceof kind);
}

export class Asking {
  #app;
  #cards;
  #under = null; // AbortController of the question under way
  #prepared = null; // id of the picture that was encoded ahead
  onAnswer = () => {};

  constructor(app, cards) {
    this.#app = app;
    this.#cards = cards;
  }

  /** Ask for the mask of the object in work, unless it is known. A newer question ends an older. */
  ask() {
    const app = this.#app;
    this.stop();
    const { draft } = app.work;
    if (!draft || isAnswered(draft)) return app.changed();
    const point = draft.points.at(-1) ?? {
      x: (draft.box.left + draft.box.right) / 2, y: (draft.box.top + draft.box.bottom) / 2,
    };
    app.question = { token: draft.token, point, since: performance.now() };
    app.changed();
    return this.#segment(app.image.id, draft).catch((error) => {
      if (!isTold(error)) throw error;
    });
  }

  stop() {
    this.#under?.abort();
    this.#under = null;
    this.#app.question = null;
  }

  async #segment(id, draft) {
    const app = this.#app;
    const under = (this.#under = new AbortController());
    const { signal } = under;
    let since = 0; // of the try that was answered
    const prompt = { points: draft.points, strategy: app.strategy };
    if (draft.box) prompt.box = draft.box;
    if (draft.refines) prompt.refine = draft.refines;
    try {
      const answer = await this.#cards.attempt(
        "segment", () => {
          since = performance.now();
          return api.segment(id, prompt, signal);
        }, { signal, again: () => this.ask() },
      );
      const history = app.histories.get(id);
      app.histories.set(id, answered(history, draft.token, { ...answer, token: draft.token }));
      this.learn(answer, performance.now() - since);
      this.#tell(answer);
    } finally {
      if (this.#under === under) {
        this.#under = null;
        app.question = null;
        app.changed();
      }
    }
    this.onAnswer(draft.token);
  }

  /** Have the service hold the picture. */
  async open(id) {
    const app = this.#app;
    app.note = "Encoding the picture";
    app.lease = null;
    app.changed();
    try {
      const reply = await this.#cards.attempt("open", () => {
        if (app.image?.id !== id) throw new DOMException("another picture", "AbortError");
        return api.open(id);
      }, { again: () => this.open(id) });
      if (app.image?.id !== id) return;
      this.learn({ ...reply, encoded_again: false }, null);
      app.note = "Ready";
    } catch (error) {
      if (!isTold(error)) throw error;
      if (app.image?.id === id) app.note = "Not encoded";
    } finally {
      app.changed();
    }
  }

  /** Have the service encode the picture that comes next while a person looks at this one. Where it
   * cannot, nothing is lost: `open` will say why. */
  async prepare(row) {
    if (!row || this.#prepared === row.id) return;
    this.#prepared = row.id;
    try {
      await Promise.all([api.open(row.id), api.view(row.id, "original")]);
    } catch (error) {
      if (!isTold(error)) throw error;
    }
  }

  /** Objects that nobody clicked on. */
  async suggest() {
    const app = this.#app;
    const { id } = app.image;
    app.note = "Looking for objects";
    app.changed();
    try {
      const since = performance.now();
      const reply = await this.#cards.attempt("propose", () => {
        if (app.image?.id !== id) throw new DOMException("another picture", "AbortError");
        return api.propose(id);
      }, { again: () => this.suggest() });
      if (app.image?.id !== id) return;
      const { model_digest: digest } = reply;
      app.suggestions = reply.proposals
        .filter((one) => shapeOf(one.mask).mask.area)
        .map(({ click, ...answer }) => ({
          key: fresh("s"), click, answer: { model_digest: digest, ...answer },
        }));
      if (!app.work.draft) app.selected = app.openSuggestions[0]?.key ?? null;
      const newest = reply.timings_ms ? reply : reply.proposals.at(-1);
      if (newest) this.learn(newest, performance.now() - since);
      const count = app.suggestions.length;
      app.say(count ? `${count} suggestions; J goes through them` : "No suggestion");
      if (!count) this.#cards.note("propose", "No suggestion", "The model sees nothing here");
    } catch (error) {
      if (!isTold(error)) throw error;
    } finally {
      if (app.image?.id === id) app.note = "Ready";
      app.changed();
    }
  }

  /** What every reply tells: lease, times, whether the picture had to be encoded again. `pageMs`
   * is what the page waited for an answer, null where the picture was encoded. */
  learn(reply, pageMs) {
    const app = this.#app;
    if (reply.lease) {
      app.lease = { until: performance.now() + reply.lease.expires_in_s * 1000 };
    }
    if (reply.timings_ms) app.timings = { ...reply.timings_ms, page: pageMs };
    app.note = "Ready";
    const { encoded_again: again, refine_lost: lost } = reply;
    const told = [
      again && "The service no longer held this picture, so it was encoded again.",
      lost && "The mask to refine was gone, so this is the answer to the clicks alone.",
    ].filter(Boolean);
    if (told.length) {
      this.#cards.note("again", again ? "Encoded again" : "Not refined", told.join(" "));
    }
  }

  #tell(answer) {
    const { mask } = shapeOf(answer.mask);
    if (!mask.area) {
      this.#app.say("No mask there");
      const title = "Nothing found there";
      this.#cards.note("empty", title, "Click elsewhere on the object, or draw a box around it");
      return;
    }
    const share = (100 * mask.area) / (mask.width * mask.height);
    const places = adaptivePoints(answer).length;
    this.#app.say(`Mask of ${answer.category ?? "an object without category"}, score `
      + `${answer.score.toFixed(2)}, ${share.toFixed(1)} percent of the picture, `
      + `${places} adaptive points. Enter accepts.`);
  }
}
