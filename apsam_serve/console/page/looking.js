// How the picture is looked at: view, zoom, loupe, masks, and the keyboard's cross.

import { fit, inside, reveal, toPicture, toScreen, zoom } from "./viewport.js";

const STEP_PX = 8;

export class Looking {
  #app;
  #views;

  constructor(app, views) {
    this.#app = app;
    this.#views = views;
  }

  view(name) {
    this.#views.choose(name);
  }

  /** The original and nothing else, for as long as the key is down. */
  peek(on) {
    const app = this.#app;
    if (app.peek === on) return;
    app.peek = on;
    app.changed();
  }

  masks() {
    const app = this.#app;
    app.masks = !app.masks;
    app.say(app.masks ? "Masks shown" : "Masks hidden");
    app.changed();
  }

  fainter(by) {
    this.opacity(this.#app.opacity + by);
  }

  opacity(value) {
    this.#app.opacity = Math.min(1, Math.max(0, value));
    this.#app.changed();
  }

  loupe() {
    this.#app.loupe = !this.#app.loupe;
    this.#app.changed();
  }

  zoom(factor) {
    const app = this.#app;
    if (!app.image) return;
    const { place, stage } = app;
    const middle = { x: stage.width / 2, y: stage.height / 2 };
    const picture = app.cross ?? app.pointer;
    const at = picture ? toScreen(place, picture) : middle;
    app.place = zoom(place, factor, at, this.leastScale());
    app.changed();
  }

  leastScale() {
    return Math.min(1, fit(this.#app.image, this.#app.stage).scale) / 2;
  }

  fit() {
    const app = this.#app;
    if (app.image) app.place = fit(app.image, app.stage);
    app.changed();
  }

  wide() {
    document.body.classList.toggle("wide");
  }

  move([dx, dy]) {
    const step = STEP_PX / this.#app.place.scale;
    this.#cursor(dx * step, dy * step);
  }

  nudge([dx, dy]) {
    this.#cursor(dx, dy);
  }

  #cursor(dx, dy) {
    const app = this.#app;
    if (!app.image) return;
    const from = this.cross();
    app.cross = inside(app.image, { x: from.x + dx, y: from.y + dy });
    app.place = reveal(app.place, app.cross, app.stage);
    document.getElementById("picture").focus();
    app.changed();
  }

  /** The cross; it begins at the pointer, else in the middle of what is seen. */
  cross() {
    const app = this.#app;
    if (!app.image) return null;
    const { width, height } = app.stage;
    const middle = toPicture(app.place, { x: width / 2, y: height / 2 });
    app.cross ??= inside(app.image, app.pointer ?? middle);
    return app.cross;
  }
}
