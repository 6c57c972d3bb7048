// The stage: the picture in the chosen view, and over it what was clicked and what was answered.

import {
  paintAdaptive, paintBox, paintCross, paintLabel, paintPoint, paintShape, paintSuggestion,
  paintWaiting,
} from "./paint.js";
import { letter, look } from "./patterns.js";
import { shapeOf } from "./shapes.js";
import { adaptivePoints, isAnswered } from "./state.js";
import { toScreen } from "./viewport.js";

const FADE_MS = 120;
const LATE_MS = 150;
const TURN_MS = 900;
const LOUPE = { radius: 96, times: 3 };
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Canvas {
  #canvas;
  #context;
  #late = 0; // timer
  #revealed = { token: null, since: 0 }; // the newest answer, and its first frame
  #labels = []; // functions that paint one each

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  /** Draw all of it; ask for another frame while something moves. */
  draw(app, now) {
    const ratio = devicePixelRatio;
    const { width, height } = app.stage;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== size[0] || this.#canvas.height !== size[1]) {
      [this.#canvas.width, this.#canvas.height] = size;
    }
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#picture(app)) return;
    if (app.peek) return;
    this.#labels = [];
    if (app.masks) this.#objects(app, ratio);
    const rises = this.#draft(app, now, ratio);
    for (const paint of this.#labels) paint(); // over every mask
    this.#points(app);
    const turns = this.#waiting(app, now);
    this.#hands(app);
    if (app.loupe) this.#loupe(app);
    if (rises || turns) app.changed();
  }

  #picture(app) {
    const bitmap = app.bitmaps.get(app.peek ? "original" : app.shown);
    if (!bitmap) return false;
    const { scale, x, y } = app.place;
    // Pixels far enlarged stay pixels; a reduced picture is averaged, which costs three times more.
    this.#context.imageSmoothingEnabled = scale < 2;
    this.#context.imageSmoothingQuality = scale < 1 ? "high" : "low";
    this.#context.drawImage(bitmap, x, y, app.image.width * scale, app.image.height * scale);
    return true;
  }

  #objects(app, ratio) {
    const context = this.#context;
    const { objects } = app.work;
    objects.forEach((object, index) => {
      const selected = object.key === app.selected;
      const rejected = object.verdict === "rejected";
      if (rejected && !selected) return;
      const shape = shapeOf(object.mask);
      const style = { ...look(index), opacity: rejected ? 0 : app.opacity, ratio };
      paintShape(context, shape, app.place, {
        ...style, width: selected ? 3 : 1.5, dash: rejected ? [2, 4] : [],
      });
      const name = selected && object.category ? ` ${object.category}` : "";
      this.#label(app, shape, `${index + 1}${name}`, style.hue);
    });
    if (app.work.draft) return; // one thing at a time: suggestions wait in their list
    app.openSuggestions.forEach((one, index) => {
      const selected = one.key === app.selected;
      paintShape(context, shapeOf(one.answer.mask), app.place, {
        hue: "#fff", opacity: 0, ratio, dash: [7, 5], width: selected ? 2.5 : 1.25,
        strength: selected ? 1 : 0.75,
      });
      paintSuggestion(context, toScreen(app.place, one.click), letter(index), selected);
    });
  }

  /** The mask in work. In the first frame of an answer its points stand alone; then it comes up:
   * true until it has. */
  #draft(app, now, ratio) {
    const { draft, objects } = app.work;
    if (!draft?.answer) return false;
    const fresh = isAnswered(draft);
    if (fresh && this.#revealed.token !== draft.token) {
      this.#revealed = { token: draft.token, since: now };
    }
    const age = fresh ? now - this.#revealed.since : FADE_MS;
    const share = still.matches && age > 0 ? 1 : Math.min(1, age / FADE_MS);
    if (app.masks && share > 0) {
      const shape = shapeOf(draft.answer.mask);
      if (shape.mask.area) {
        const style = { ...look(objects.length), opacity: app.opacity * share, ratio };
        paintShape(this.#context, shape, app.place, { ...style, width: 2, strength: share });
        const label = `${draft.category ?? "No category"} ${draft.answer.score.toFixed(2)}`;
        if (share === 1) this.#label(app, shape, label, style.hue);
      }
      if (fresh) this.#mark("mask", draft.token);
    }
    return age < FADE_MS;
  }

  /** What was asked of the object in work, and the points that its answer came from. */
  #points(app) {
    const { draft } = app.work;
    if (!draft) return;
    const screen = (x, y) => toScreen(app.place, { x, y });
    if (draft.box) {
      const { left, top, right, bottom } = draft.box;
      paintBox(this.#context, screen(left, top), screen(right, bottom), [6, 4]);
    }
    if (isAnswered(draft)) {
      for (const { x, y } of adaptivePoints(draft.answer)) {
        paintAdaptive(this.#context, screen(x, y));
        this.#mark("adaptive", draft.token);
      }
    }
    for (const { x, y, positive } of draft.points) {
      paintPoint(this.#context, screen(x, y), positive);
    }
    if (draft.points.length) this.#mark("point", draft.token);
  }

  /** An arc turns where the answer is late. Until then nothing is drawn: frames would hold up the
   * answer itself. */
  #waiting(app, now) {
    const { question } = app;
    clearTimeout(this.#late);
    if (!question) return false;
    const left = LATE_MS - (now - question.since);
    if (left > 0) {
      this.#late = setTimeout(() => app.changed(), left);
      return false;
    }
    const turn = still.matches ? 0 : (now - question.since) / TURN_MS;
    paintWaiting(this.#context, toScreen(app.place, question.point), turn % 1);
    return !still.matches;
  }

  /** What the hands do now: a pressed button, a box being drawn, the keyboard's cross. */
  #hands(app) {
    const context = this.#context;
    const screen = (point) => toScreen(app.place, point);
    if (app.drag) paintBox(context, screen(app.drag.from), screen(app.drag.to), [6, 4]);
    else if (app.press) paintPoint(context, screen(app.press), app.press.positive);
    if (app.cross) {
      if (app.corner) paintBox(context, screen(app.corner), screen(app.cross), [6, 4]);
      paintCross(context, screen(app.cross));
    }
  }

  #label(app, { mask }, text, hue) {
    const at = toScreen(app.place, { x: mask.left, y: mask.top });
    const end = toScreen(app.place, { x: mask.right, y: mask.bottom });
    if (end.x < 0 || end.y < 0 || at.x > app.stage.width || at.y > app.stage.height) return;
    this.#labels.push(
      () => paintLabel(this.#context, text, { x: at.x, y: at.y - 2 }, hue, app.stage),
    );
  }

  #loupe(app) {
    const at = app.cross ?? app.pointer;
    const bitmap = app.bitmaps.get(app.shown);
    if (!at || !bitmap) return;
    const context = this.#context;
    const { radius, times } = LOUPE;
    const screen = toScreen(app.place, at);
    const aside = (value, size) => value + (value + 2.3 * radius > size ? -1.2 : 1.2) * radius;
    const x = Math.max(radius, aside(screen.x, app.stage.width));
    const y = Math.max(radius, aside(screen.y, app.stage.height));
    const scale = Math.max(app.place.scale * times, 3);
    context.save();
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = "#262626";
    context.fill();
    context.save();
    context.clip();
    context.imageSmoothingEnabled = false;
    const { width, height } = app.image;
    context.drawImage(bitmap, x - at.x * scale, y - at.y * scale, width * scale, height * scale);
    context.restore();
    for (const [colour, wide] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
    context.restore();
    paintCross(context, { x, y }, 18);
  }

  /** When each part of an answer was first on the stage, for anyone who measures. */
  #mark(part, token) {
    const name = `apsam:${part}:${token}`;
    if (!performance.getEntriesByName(name).length) performance.mark(name);
  }
}
