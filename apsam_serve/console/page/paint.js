// Marks and masks on a 2-D context. Coordinates are CSS pixels unless a name says picture.

import { pattern } from "./patterns.js";

const DARK = "rgba(0, 0, 0, 0.8)";
const POSITIVE = "#3dff8f";
const NEGATIVE = "#ff5c5c";
const ADAPTIVE = "#ffd54a";

/** A mask: hatched inside, outlined twice so that it shows on black and on white. */
export function paintShape(context, shape, view, style) {
  const { hue, opacity, ratio, dash = [], width = 1.5 } = style;
  context.save();
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  if (opacity > 0) {
    context.save();
    context.clip(shape.path, "evenodd");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { canvas } = context;
    for (const [strength, paint] of [[0.3, hue], [1, pattern(context, style, view, ratio)]]) {
      context.globalAlpha = opacity * strength;
      context.fillStyle = paint;
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    context.restore();
  }
  context.lineJoin = "round";
  context.globalAlpha = style.strength ?? 1;
  context.setLineDash(dash.map((length) => length / view.scale));
  for (const [colour, wide] of [[DARK, width + 1.5], [hue, width]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide / view.scale;
    context.stroke(shape.path);
  }
  context.restore();
}

/** What a person clicked: a round mark with plus or minus. */
export function paintPoint(context, { x, y }, positive) {
  context.save();
  disc(context, x, y, 8, positive ? POSITIVE : NEGATIVE);
  context.strokeStyle = "#000";
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - 4, y);
  context.lineTo(x + 4, y);
  if (positive) {
    context.moveTo(x, y - 4);
    context.lineTo(x, y + 4);
  }
  context.stroke();
  context.restore();
}

/** What the Adaptive Point Generator placed: a diamond with a dot. */
export function paintAdaptive(context, { x, y }) {
  const diamond = (size) => {
    context.beginPath();
    context.moveTo(x, y - size);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.lineTo(x - size, y);
    context.closePath();
    context.fill();
  };
  context.save();
  context.fillStyle = "#000";
  diamond(11);
  context.fillStyle = ADAPTIVE;
  diamond(8.5);
  context.fillStyle = "#000";
  context.beginPath();
  context.arc(x, y, 2.2, 0, 2 * Math.PI);
  context.fill();
  context.restore();
}

/** A suggested click: a dashed ring with its letter. */
export function paintSuggestion(context, { x, y }, name, selected) {
  context.save();
  context.beginPath();
  context.arc(x, y, 11, 0, 2 * Math.PI);
  context.fillStyle = selected ? "#fff" : "rgba(0, 0, 0, 0.65)";
  context.fill();
  context.setLineDash([4, 3]);
  context.lineWidth = 2;
  context.strokeStyle = selected ? "#000" : "#fff";
  context.stroke();
  context.fillStyle = selected ? "#000" : "#fff";
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(name, x, y + 0.5);
  context.restore();
}

/** Words on a dark plate whose left bottom corner is at (x, y). */
export function paintLabel(context, text, { x, y }, hue, stage) {
  context.save();
  context.font = "600 13px system-ui, sans-serif";
  const width = context.measureText(text).width + 12;
  const left = Math.max(2, Math.min(x, stage.width - width - 2));
  const top = Math.max(2, Math.min(y - 24, stage.height - 24));
  context.fillStyle = "rgba(0, 0, 0, 0.82)";
  context.fillRect(left, top, width, 20);
  context.fillStyle = hue;
  context.fillRect(left, top, 3, 20);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, left + 8, top + 10.5);
  context.restore();
}

/** A rectangle between two corners. */
export function paintBox(context, a, b, dash = []) {
  context.save();
  for (const [colour, width] of [[DARK, 4], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
  }
  context.restore();
}

/** The keyboard's cross, open in the middle so that it hides nothing. */
export function paintCross(context, { x, y }, reach = 26) {
  context.save();
  for (const [colour, width] of [[DARK, 4], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 6 * dx, y + 6 * dy);
      context.lineTo(x + reach * dx, y + reach * dy);
    }
    context.stroke();
  }
  context.restore();
}

/** An arc around a point whose answer is under way; `turn` in 0..1. */
export function paintWaiting(context, { x, y }, turn) {
  context.save();
  for (const [colour, width] of [[DARK, 5], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 14, 2 * Math.PI * turn, 2 * Math.PI * (turn + 0.3));
    context.stroke();
  }
  context.restore();
}

function disc(context, x, y, radius, colour) {
  context.fillStyle = "#000";
  context.beginPath();
  context.arc(x, y, radius + 2, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}
