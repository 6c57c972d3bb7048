// What the page knows now, and one redrawing per frame for whoever asked to be told.

import { overlap } from "./shapes.js";
import { begin } from "./state.js";

const SAME = 0.7; // overlap (IoU) from which on a suggestion is an object that is there already

export class App {
  info = null;
  images = [];
  image = null; // row of the picture on the stage
  bitmaps = new Map(); // view name -> ImageBitmap, of that picture
  view = "original";
  shown = null; // view whose bitmap is on the stage
  peek = false; // the original with nothing drawn over it
  masks = true;
  opacity = 0.6;
  loupe = false;
  strategy = "apg";
  stage = { width: 1, height: 1 };
  place = { scale: 1, x: 0, y: 0 };
  pointer = null; // picture pixels
  cross = null; // picture pixels, once the keyboard moved it
  corner = null; // first corner of the keyboard's box
  press = null; // {x, y, positive} of a button that is down
  drag = null; // {from, to} of a box being drawn
  histories = new Map(); // image id -> history
  suggestions = []; // [{key, click, answer}]
  selected = null; // key of an object or of a suggestion
  question = null; // {token, point, since}: under way
  lease = null; // {until}: milliseconds of performance.now()
  timings = null;
  saved = new Map(); // object key -> {id, state}
  note = "Starting";
  #listeners = [];
  #followers = [];
  #due = false;

  get history() {
    return (this.image && this.histories.get(this.image.id)) ?? begin();
  }

  set history(history) {
    this.histories.set(this.image.id, history);
  }

  /** Whether what was saved of the picture is here; nothing can be done to it before. */
  get loaded() {
    return Boolean(this.image) && this.histories.has(this.image.id);
  }

  get work() {
    return this.history.present;
  }

  /** Suggestions that are neither in work nor among the objects, whoever found those. */
  get openSuggestions() {
    const { draft, objects } = this.work;
    const taken = new Set([draft?.suggestion, ...objects.map((one) => one.suggestion)]);
    return this.suggestions.filter((one) => !taken.has(one.key)
      && !objects.some((object) => overlap(one.answer.mask, object.mask) > SAME));
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Something changed: all listeners run once, before the next frame is painted. */
  changed() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame((now) => {
      this.#due = false;
      for (const listener of this.#listeners) listener(this, now);
    });
  }

  onMove(listener) {
    this.#followers.push(listener);
  }

  /** The pointer alone has moved, and nothing on the stage follows it. */
  moved() {
    for (const follower of this.#followers) follower(this);
  }

  /** For those who listen, not look. */
  say(text) {
    document.getElementById("say").textContent = text;
  }
}
