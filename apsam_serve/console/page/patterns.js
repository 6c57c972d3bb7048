// Objects are told apart by hatching first and by hue second, for eyes that see fewer hues.

export const HUES = ["#ff5ce1", "#00e0ff", "#ffe14a", "#b69cff", "#7dff6a", "#ffffff"];
const KINDS = ["rising", "falling", "level", "crossed", "upright", "dotted"];
const TILE = 8;

/** Look number `index` of a picture: no two of the first 36 have both hue and hatching. */
export function look(index) {
  const hue = HUES[index % HUES.length];
  const turn = Math.floor(index / HUES.length);
  return { hue, kind: KINDS[(index + turn) % KINDS.length] };
}

/** What suggestion number `index` is called; objects have numbers. */
export function letter(index) {
  return String.fromCodePoint("A".codePointAt(0) + (index % 26));
}

const tiles = new Map();

/** A canvas pattern of a look, in device pixels, anchored at `origin` (CSS pixels). */
export function pattern(context, { hue, kind }, origin, ratio) {
  const name = `${hue} ${kind} ${ratio}`;
  if (!tiles.has(name)) tiles.set(name, tile(hue, kind, ratio));
  const made = context.createPattern(tiles.get(name), "repeat");
  made.setTransform(new DOMMatrix([1 / ratio, 0, 0, 1 / ratio, origin.x, origin.y]));
  return made;
}

function tile(hue, kind, ratio) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.round(TILE * ratio);
  const context = canvas.getContext("2d");
  context.scale(canvas.width / TILE, canvas.height / TILE);
  // Dark under bright: visible on white belts and on black metal alike.
  for (const [colour, width] of [["rgba(0, 0, 0, 0.55)", 2.6], [hue, 1.3]]) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    draw(context, kind, width);
  }
  return canvas;
}

function draw(context, kind, width) {
  const line = (x1, y1, x2, y2) => {
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  };
  const half = TILE / 2;
  if (kind === "dotted") {
    context.beginPath();
    context.arc(half, half, width * 0.8, 0, 2 * Math.PI);
    context.fill();
  }
  if (kind === "level" || kind === "crossed") line(0, half, TILE, half);
  if (kind === "upright" || kind === "crossed") line(half, 0, half, TILE);
  // Diagonals once more beside the tile, or its corners stay open.
  for (const shift of [-TILE, 0, TILE]) {
    if (kind === "rising") line(shift - 1, TILE + 1, shift + TILE + 1, -1);
    if (kind === "falling") line(shift - 1, -1, shift + TILE + 1, TILE + 1);
  }
}
