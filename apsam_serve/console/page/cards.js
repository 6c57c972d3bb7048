// What went wrong, what to do about it, and trying again.

import { element } from "./element.js";

const LONGEST_WAIT_S = 10;
const NOTE_MS = 6000;

const TITLES = {
  NO_CONSOLE: "The console does not answer",
  NOT_SERVING: "The segmentation service does not answer",
  OVERLOADED: "The service is busy",
  RATE_LIMITED: "The service asks for fewer clicks",
  DEADLINE_EXCEEDED: "The service took too long",
  INVALID_IMAGE: "This picture cannot be used",
  INVALID_PROMPT: "This click cannot be answered",
};

// Their titles say all that the person at the picture needs; the rest is for who runs the service.
const PLAIN = new Set(["NO_CONSOLE", "NOT_SERVING", "OVERLOADED", "DEADLINE_EXCEEDED"]);

/** Thrown where a person told a card to stop trying. */
export class Stopped extends Error {}

export class Cards {
  #root;
  #shown = new Map(); // name -> element

  constructor(root) {
    this.#root = root;
  }

  /**
   * What `work(tries)` resolves to. While it is refused for a time, it is tried again after what it
   * was told to wait. `again` is offered as a button where trying by itself would not help.
   */
  async attempt(name, work, { again = null, signal = null } = {}) {
    for (let tries = 0; ; tries++) {
      try {
        const result = await work(tries);
        this.close(name);
        return result;
      } catch (error) {
        if (error.name === "AbortError") {
          this.close(name);
          throw error;
        }
        if (error.retryAfter === null || error.retryAfter === undefined) {
          this.fault(name, error, again);
          throw error;
        }
        const wait = Math.min(LONGEST_WAIT_S, Math.max(error.retryAfter, 2 ** tries / 2));
        await this.#wait(name, error, wait, signal, again);
      }
    }
  }

  /** A fault that stays until it is put away. */
  fault(name, error, again = null) {
    const buttons = again ? [["Try again", () => { this.close(name); again(); }]] : [];
    this.#show(name, "fault", this.#title(error), error, buttons);
  }

  /** Something worth knowing that goes away by itself. */
  note(name, title, message) {
    const card = this.#show(name, "note", title, { message }, []);
    setTimeout(() => {
      if (this.#shown.get(name) === card) this.close(name);
    }, NOTE_MS);
  }

  close(name) {
    this.#shown.get(name)?.remove();
    this.#shown.delete(name);
  }

  #title(error) {
    return TITLES[error.reason] ?? "This did not work";
  }

  #wait(name, error, seconds, signal, again) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearInterval(timer);
        signal?.removeEventListener("abort", aborted);
        settle(value);
      };
      const aborted = () => {
        this.close(name);
        done(reject, new DOMException("superseded", "AbortError"));
      };
      const stop = () => {
        this.fault(name, error, again);
        done(reject, new Stopped(error.message));
      };
      const buttons = [["Now", () => done(resolve)], ["Stop", stop]];
      let card = this.#shown.get(name);
      if (card?.dataset.kind !== "wait") {
        card = this.#show(name, "wait", this.#title(error), error, buttons);
      } else {
        card.querySelector(".row").replaceChildren(...buttons.map(button));
      }
      const until = performance.now() + seconds * 1000;
      const tick = () => {
        const left = (until - performance.now()) / 1000;
        const text = left > 0.5 ? `Trying again in ${Math.ceil(left)} s` : "Trying again";
        card.querySelector(".count").textContent = text;
        if (left <= 0) done(resolve);
      };
      const timer = setInterval(tick, 250);
      signal?.addEventListener("abort", aborted);
      tick();
    });
  }

  #show(name, kind, title, { message, fix = "", reason = "" }, buttons) {
    this.close(name);
    const card = element("section", { className: `card ${kind}` });
    card.dataset.kind = kind;
    card.append(element("h3", { textContent: title }));
    const told = element("p", { textContent: sentence(message) });
    if (!PLAIN.has(reason)) card.append(told);
    if (fix) card.append(element("p", { className: "fix", textContent: sentence(fix) }));
    if (PLAIN.has(reason)) {
      card.append(element("details", {}, element("summary", {}, "Details"), told));
    }
    if (kind === "wait") card.append(element("p", { className: "count" }));
    const row = element("p", { className: "row" }, ...buttons.map(button));
    if (kind !== "wait") row.append(button(["Dismiss", () => this.close(name)]));
    card.append(row);
    this.#root.append(card);
    this.#shown.set(name, card);
    return card;
  }
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(begun) ? begun : `${begun}.`;
}

function button([text, onclick]) {
  return element("button", { textContent: text, onclick });
}
