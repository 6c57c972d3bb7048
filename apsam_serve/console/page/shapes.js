// What drawing needs of a mask, made once per mask: its pixels and its outline as a path.

import { rings } from "./outline.js";
import { decode, iou } from "./rle.js";

const made = new WeakMap();
const compared = new WeakMap(); // mask -> WeakMap of another mask -> overlap

/** {mask, path} of a mask as it travels; path is in picture pixels. */
export function shapeOf(travelling) {
  if (!made.has(travelling)) {
    const mask = decode(travelling);
    const path = new Path2D();
    for (const ring of rings(mask)) {
      path.moveTo(ring[0], ring[1]);
      for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i], ring[i + 1]);
      path.closePath();
    }
    made.set(travelling, { mask, path });
  }
  return made.get(travelling);
}

/** Intersection over union of two masks as they travel. */
export function overlap(one, other) {
  if (!compared.has(one)) compared.set(one, new WeakMap());
  const known = compared.get(one);
  if (!known.has(other)) known.set(other, iou(shapeOf(one).mask, shapeOf(other).mask));
  return known.get(other);
}
