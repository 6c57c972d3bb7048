// The border of a mask as closed rings along pixel edges, inside on the right hand.

import { bit } from "./rle.js";

const EAST = 0;
const STEP = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/** Rings of a decoded mask, outer ones and holes: arrays [x, y, x, y, ...] of their corners. */
export function rings(mask) {
  const { left, top, right, bottom } = mask;
  const stride = right - left + 1;
  const edges = borderEdges(mask, stride);
  const found = [];
  for (let y = 0; y <= bottom - top; y++) {
    for (let x = 0; x < stride; x++) {
      if (edges[y * stride + x] & (1 << EAST)) found.push(follow(edges, stride, x, y, left, top));
    }
  }
  return found;
}

/** Per corner of the mask's box, a bit per direction in which a border edge leaves it. */
function borderEdges(mask, stride) {
  const { left, top, right, bottom } = mask;
  const edges = new Uint8Array(stride * (bottom - top + 1));
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      if (!bit(mask, x, y)) continue;
      const corner = (y - top) * stride + x - left;
      if (!bit(mask, x, y - 1)) edges[corner] |= 1;
      if (!bit(mask, x + 1, y)) edges[corner + 1] |= 2;
      if (!bit(mask, x, y + 1)) edges[corner + stride + 1] |= 4;
      if (!bit(mask, x - 1, y)) edges[corner + stride] |= 8;
    }
  }
  return edges;
}

/** One ring from a corner whose eastern edge is still there; takes its edges away. */
function follow(edges, stride, x, y, left, top) {
  const ring = [];
  let direction = EAST;
  let before = -1;
  for (;;) {
    const corner = y * stride + x;
    // A right turn first: pixels that touch at a corner stay apart.
    const next = before < 0 ? EAST
      : [1, 0, 3].map((turn) => (direction + turn) % 4).find((d) => edges[corner] & (1 << d));
    if (next === undefined) return ring;
    if (next !== before) ring.push(x + left, y + top);
    edges[corner] &= ~(1 << next);
    direction = before = next;
    x += STEP[next][0];
    y += STEP[next][1];
  }
}
