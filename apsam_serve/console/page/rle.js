// Masks as COCO writes them: run lengths in column-major order, background first, each (from the
// fourth on) as its difference to the run two before, in little-endian groups of 5 bits.

/** The run lengths of COCO's compressed `counts`. */
export function runs(counts) {
  const lengths = [];
  for (let at = 0; at < counts.length;) {
    let value = 0;
    let shift = 0;
    let group;
    do {
      if (at >= counts.length) throw new RangeError("counts is cut off");
      group = counts.charCodeAt(at++) - 48;
      if (group < 0 || group > 63) {
        throw new RangeError(`counts has a foreign character at ${at - 1}`);
      }
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) value -= 2 ** shift;
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    if (value < 0) throw new RangeError(`counts has a run of ${value} pixels`);
    lengths.push(value);
  }
  return lengths;
}

/**
 * A mask {size: [height, width], counts} as {width, height, left, top, right, bottom, area, bits}.
 * right and bottom lie behind the last pixel; bits is a Uint8Array of that box alone, row by row.
 */
export function decode({ size: [height, width], counts }) {
  const lengths = runs(counts);
  const whole = lengths.reduce((sum, length) => sum + length, 0);
  if (whole !== width * height) {
    throw new RangeError(`counts add up to ${whole} pixels, the mask has ${width * height}`);
  }
  const spans = []; // [column, first row, row behind the last]
  let position = 0;
  lengths.forEach((length, index) => {
    const end = position + length;
    while (index % 2 && position < end) {
      const row = position % height;
      const bottom = Math.min(height, row + end - position);
      spans.push([(position - row) / height, row, bottom]);
      position += bottom - row;
    }
    position = end;
  });
  return { width, height, ...fill(spans) };
}

/** The box around spans of columns, and its pixels. */
function fill(spans) {
  if (!spans.length) {
    return { left: 0, top: 0, right: 0, bottom: 0, area: 0, bits: new Uint8Array() };
  }
  const left = spans[0][0];
  const right = spans.at(-1)[0] + 1;
  const top = spans.reduce((least, [, first]) => Math.min(least, first), Infinity);
  const bottom = spans.reduce((most, [, , end]) => Math.max(most, end), 0);
  const stride = right - left;
  const bits = new Uint8Array(stride * (bottom - top));
  let area = 0;
  for (const [column, first, end] of spans) {
    area += end - first;
    for (let row = first; row < end; row++) bits[(row - top) * stride + column - left] = 1;
  }
  return { left, top, right, bottom, area, bits };
}

/** Whether the mask holds the pixel in that column and row: 1 or 0. */
export function bit({ left, top, right, bottom, bits }, column, row) {
  if (column < left || row < top || column >= right || row >= bottom) return 0;
  return bits[(row - top) * (right - left) + column - left];
}

/** Whether the mask holds the pixel under (x, y). */
export function covers(mask, x, y) {
  return bit(mask, Math.floor(x), Math.floor(y)) === 1;
}

/** Intersection over union of two decoded masks of one picture; 1 where both are empty. */
export function iou(one, other) {
  const bottom = Math.min(one.bottom, other.bottom);
  const right = Math.min(one.right, other.right);
  let both = 0;
  for (let row = Math.max(one.top, other.top); row < bottom; row++) {
    for (let column = Math.max(one.left, other.left); column < right; column++) {
      both += bit(one, column, row) & bit(other, column, row);
    }
  }
  const either = one.area + other.area - both;
  return either ? both / either : 1;
}
