// Where the picture lies on the screen: screen = picture * scale + (x, y), in CSS pixels. Pure.

const MOST = 32;

/** The whole picture in the middle of the stage. */
export function fit(picture, stage, margin = 12) {
  const scale = Math.max(0.01, Math.min(
    (stage.width - 2 * margin) / picture.width, (stage.height - 2 * margin) / picture.height,
  ));
  return {
    scale,
    x: (stage.width - picture.width * scale) / 2,
    y: (stage.height - picture.height * scale) / 2,
  };
}

export function toPicture(view, point) {
  return { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale };
}

export function toScreen(view, point) {
  return { x: point.x * view.scale + view.x, y: point.y * view.scale + view.y };
}

/** Closer or further, with the place under `at` (screen) held still. */
export function zoom(view, factor, at, least) {
  const scale = Math.min(MOST, Math.max(least, view.scale * factor));
  const held = toPicture(view, at);
  return { scale, x: at.x - held.x * scale, y: at.y - held.y * scale };
}

export function pan(view, dx, dy) {
  return { ...view, x: view.x + dx, y: view.y + dy };
}

/** Moved as little as shows the picture point at least `margin` inside the stage. */
export function reveal(view, point, stage, margin = 48) {
  const at = toScreen(view, point);
  const inwards = (value, size) =>
    Math.max(0, margin - value) - Math.max(0, value - (size - margin));
  return pan(view, inwards(at.x, stage.width), inwards(at.y, stage.height));
}

/** The nearest place inside the picture, never on its far edges, which belong to no pixel. */
export function inside(picture, { x, y }) {
  const keep = (value, size) => Math.min(Math.max(value, 0), size - 0.001);
  return { x: keep(x, picture.width), y: keep(y, picture.height) };
}
