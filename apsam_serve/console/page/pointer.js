// Mouse, pen and touch on the stage.

import { covers } from "./rle.js";
import { shapeOf } from "./shapes.js";
import { inside, pan, toPicture, toScreen, zoom } from "./viewport.js";

const DRAG_PX = 5;
const RING_PX = 13;
const MIDDLE = 1;
const RIGHT = 2;

export class Pointer {
  #app;
  #actions;
  #looking;
  #canvas;
  #down = null; // {button, screen, picture, pans}

  constructor(app, actions, looking, canvas) {
    this.#app = app;
    this.#actions = actions;
    this.#looking = looking;
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => this.#forget());
    canvas.addEventListener("pointerleave", () => {
      app.pointer = null;
      app.changed();
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #screen(event) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #holds({ x, y }) {
    const { width, height } = this.#app.image;
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  #press(event) {
    const app = this.#app;
    if (!app.image || this.#down) return;
    event.preventDefault(); // no text selection, no autoscroll
    this.#canvas.focus();
    this.#canvas.setPointerCapture(event.pointerId);
    app.cross = app.corner = null;
    const screen = this.#screen(event);
    const picture = toPicture(app.place, screen);
    this.#down = { button: event.button, screen, picture, pans: event.button === MIDDLE };
    const points = !this.#down.pans && !event.altKey && this.#holds(picture);
    if (points) app.press = { ...picture, positive: event.button !== RIGHT };
    app.changed();
  }

  #move(event) {
    const app = this.#app;
    if (!app.image) return;
    const screen = this.#screen(event);
    const picture = toPicture(app.place, screen);
    app.pointer = this.#holds(picture) ? picture : null;
    const down = this.#down;
    if (!down && !app.loupe && !app.cross) return app.moved();
    app.cross = null;
    if (down?.pans) {
      app.place = pan(app.place, screen.x - down.screen.x, screen.y - down.screen.y);
      down.screen = screen;
    } else if (down && down.button === 0 && !event.altKey) {
      const far = Math.hypot(screen.x - down.screen.x, screen.y - down.screen.y) > DRAG_PX;
      if (far || app.drag) {
        app.press = null;
        app.drag = { from: inside(app.image, down.picture), to: inside(app.image, picture) };
      }
    }
    app.changed();
  }

  #release(event) {
    const app = this.#app;
    const down = this.#down;
    const { press, drag } = app;
    this.#forget();
    if (!down || down.pans) return;
    if (drag) return this.#actions.box(drag.from, drag.to);
    if (event.altKey) return this.#actions.select(this.#objectAt(down.picture));
    if (!press) return;
    const suggestion = press.positive && this.#suggestionAt(down.screen);
    if (suggestion) return this.#actions.take(suggestion.key);
    this.#actions.click(press);
  }

  #forget() {
    this.#down = null;
    this.#app.press = this.#app.drag = null;
    this.#app.changed();
  }

  #wheel(event) {
    const app = this.#app;
    if (!app.image) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    const factor = Math.exp(-event.deltaY * lines * 0.0015);
    app.place = zoom(app.place, factor, this.#screen(event), this.#looking.leastScale());
    app.changed();
  }

  #objectAt({ x, y }) {
    const { objects } = this.#app.work;
    return objects.findLast((one) => covers(shapeOf(one.mask).mask, x, y))?.key ?? null;
  }

  #suggestionAt(screen) {
    const app = this.#app;
    if (!app.masks || app.work.draft) return null; // not drawn then
    return app.openSuggestions.find((one) => {
      const at = toScreen(app.place, one.click);
      return Math.hypot(at.x - screen.x, at.y - screen.y) <= RING_PX;
    });
  }
}
