"""Masks: from the decoder's logits to image pixels, and the ways a mask travels.

Up-scaling is one bilinear step from the low-resolution grid straight to the image. SAM takes two
(grid to S x S, crop, resize to the image); both read the same cells, so the masks differ only in
pixels whose logit is next to zero. Like SAM's, this step uses the real logits of the cells beyond
the letter-box for the last half cell of the image, and repeats the border cells of the grid.

Travel forms: COCO's compressed RLE (byte-identical to pycocotools), zlib-packed bits, 1-bit PNG;
outlines stand in `contract/polygons`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.images import MAX_PIXELS, decode, probe
from apsam_serve.contract.preprocess import MASK_STRIDE, LetterBox
from apsam_serve.errors import InvalidImageError, InvalidInputError

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

_LINES_AT_ONCE = 64
"""Image lines per step of the up-scaling: they stay in the cache, 1.4 against 4.4 ms for a mask
that fills 1000 x 800 pixels. (A BLAS product does it in 1 ms on an idle machine, and in 20 ms when
its threads wait for busy cores.)"""
_MAX_CHARACTERS = 7
"""Characters of one run length: 5 bits each, so 34 bits and a sign."""


@dataclass(frozen=True, kw_only=True)
class Rle:
    """A mask of height x width pixels as COCO writes it: run lengths in column-major order,
    background first, each (from the fourth on) as its difference to the run two before, in 5-bit
    characters."""

    height: int
    width: int
    counts: str


def mask_from_logits(logits: NDArray[np.float32], frame: LetterBox) -> Mask:
    """Interpolate finite logits float32 [L, L] at every image pixel, threshold at 0: bool [H, W].

    Raises InvalidInputError when the logits are not [L, L] of the frame.
    """
    side = frame.mask_side
    if logits.shape != (side, side):
        raise InvalidInputError(
            f"logits have shape {list(logits.shape)}; this frame needs [{side}, {side}]"
        )
    mask = np.zeros((frame.height, frame.width), bool)
    reach = (_reach(frame.model_height), _reach(frame.model_width))
    positive = logits[: reach[0], : reach[1]] > 0
    rows = np.flatnonzero(positive.any(axis=1))
    if len(rows) == 0:
        return mask
    y = _Axis.of(frame.height, frame.model_height, rows, side)
    x = _Axis.of(frame.width, frame.model_width, np.flatnonzero(positive.any(axis=0)), side)
    cells = logits[y.first : y.last + 1, x.first : x.last + 1]
    lines = _lerp(cells, y.low, y.weight[:, None], axis=0)
    inside = mask[y.begin : y.end, x.begin : x.end]
    for top in range(0, len(lines), _LINES_AT_ONCE):
        part = slice(top, top + _LINES_AT_ONCE)
        np.greater(_lerp(lines[part], x.low, x.weight, axis=1), 0, out=inside[part])
    return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class _Axis:
    """The image pixels [begin, end) of one axis that can be foreground, the cells [first, last]
    they lie between, and where: `low` int64 [n] is the cell before, counted from `first`, and
    `weight` float32 [n] the share of the cell after."""

    begin: int
    end: int
    first: int
    last: int
    low: Ints
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, num_pixels: int, num_model: int, cells: Ints, side: int) -> _Axis:
        """`cells` are the grid lines with a positive cell, ascending. A pixel one cell or more
        before the first or after the last has no positive neighbour, so its interpolated logit
        cannot be positive."""
        scale = num_model / num_pixels / MASK_STRIDE
        begin = max(0, int((cells[0] - 0.5) / scale - 0.5))
        end = min(num_pixels, int((cells[-1] + 1.5) / scale + 0.5) + 1)
        place = ((np.arange(begin, end) + 0.5) * scale - 0.5).clip(0, side - 1)
        low = place.astype(np.int64)
        first, last = int(low[0]), min(int(low[-1]) + 1, side - 1)
        low = np.minimum(low, max(last - 1, first))
        weight = (place - low).astype(np.float32)
        return cls(begin=begin, end=end, first=first, last=last, low=low - first, weight=weight)


def _reach(num_model: int) -> int:
    """How many grid lines have a share in an image of that many model pixels."""
    return int(num_model / MASK_STRIDE + 0.5) + 1


def _lerp(
    grid: NDArray[np.float32], low: Ints, weight: NDArray[np.float32], *, axis: int
) -> NDArray[np.float32]:
    """Interpolate one axis of float32 [K, M] at low + weight."""
    if grid.shape[axis] == 1:
        return grid.take(low, axis=axis)
    step = np.diff(grid, axis=axis)
    result = step.take(low, axis=axis, mode="clip")  # "clip" spares a checking pass
    result *= weight
    result += grid.take(low, axis=axis, mode="clip")
    return result


def encode_rle(mask: Mask) -> Rle:
    """Mask bool [H, W] to COCO's compressed RLE."""
    check_mask(mask)
    height, width = mask.shape
    edges = _run_edges(mask)
    runs = np.diff(edges, prepend=0, append=height * width)
    if len(edges) and edges[-1] == height * width:
        runs = runs[:-1]  # COCO writes no empty run of background at the end
    return Rle(height=height, width=width, counts=_to_characters(runs))


def decode_rle(rle: Rle) -> Mask:
    """COCO's compressed RLE to a mask bool [H, W].

    Raises InvalidInputError for sizes over `MAX_PIXELS`, foreign characters, negative runs and
    runs that do not add up to height x width.
    """
    check_size(rle.height, rle.width)
    num_pixels = rle.height * rle.width
    runs = _from_characters(rle.counts)
    wrong = runs[(runs < 0) | (runs > num_pixels)]
    if len(wrong):
        raise InvalidInputError(
            f"counts hold a run of {wrong[0]} pixels in a mask of {rle.width} x {rle.height}; "
            "send counts as pycocotools writes them"
        )
    if runs.sum() != num_pixels:
        raise InvalidInputError(
            f"counts add up to {runs.sum()} pixels, the mask has {rle.width} x {rle.height} = "
            f"{num_pixels}; send the size that the mask was encoded with"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(rle.width, rle.height).T)


def _run_edges(mask: Mask) -> Ints:
    """Column-major positions where the value changes, starting from background: int64 [E].

    Only the mask's bounding box is looked at, and one row beside it: that row is background, so no
    run of the box's columns joins the next column's unless the mask has both border rows.
    """
    height = mask.shape[0]
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return np.zeros(0, np.int64)
    columns = np.flatnonzero(mask.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    top, bottom = (top, bottom + 1) if bottom < height else (max(0, top - 1), bottom)
    left = int(columns[0])
    flat = mask[top:bottom, left : columns[-1] + 1].T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    inside = changes - np.arange(len(changes)) % 2  # first and last pixel of every run
    column, row = np.divmod(inside, bottom - top)
    edges: Ints = (column + left) * height + row + top
    edges[1::2] += 1
    return edges


def _to_characters(runs: Ints) -> str:
    """Runs int64 [K] to COCO's string: little-endian groups of 5 bits, 32 marks "more follows"."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    magnitude = np.where(values < 0, ~values, values)
    shifts = 5 * np.arange(_MAX_CHARACTERS)
    more = magnitude[:, None] >> (shifts + 4) > 0
    groups = (values[:, None] >> shifts & 31) + 32 * more + 48
    used = np.ones_like(more)
    used[:, 1:] = more[:, :-1]
    return groups.astype(np.uint8)[used].tobytes().decode("ascii")


def _from_characters(counts: str) -> Ints:
    """COCO's string to runs int64 [K]. Raises InvalidInputError for foreign strings."""
    codes = np.frombuffer(counts.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if len(codes) == 0:
        raise InvalidInputError("counts is empty; send counts as pycocotools writes them")
    foreign = np.flatnonzero((codes < 0) | (codes > 63))
    if len(foreign):
        raise InvalidInputError(
            f"counts has a foreign character at byte {foreign[0]}; send COCO's compressed string, "
            "whose characters are '0' to 'o'"
        )
    ends = np.flatnonzero(codes < 32)
    lengths = np.diff(ends, prepend=-1)
    if len(ends) == 0 or ends[-1] != len(codes) - 1 or lengths.max() > _MAX_CHARACTERS:
        raise InvalidInputError(
            f"counts of {len(codes)} characters is cut off or has a run of more than "
            f"{_MAX_CHARACTERS} characters; send it whole"
        )
    starts = ends - lengths + 1
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def pack_bits(mask: Mask) -> bytes:
    """Mask bool [H, W] to zlib-compressed bits, row-major, first pixel in the highest bit."""
    check_mask(mask)
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack_bits(data: bytes, *, height: int, width: int) -> Mask:
    """The mask bool [H, W] that `pack_bits` wrote. Raises InvalidInputError for other bytes."""
    check_size(height, width)
    num_bytes = (height * width + 7) // 8
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, num_bytes + 1)  # bounded: a bomb stops here
    except zlib.error as error:
        raise InvalidInputError(f"packed bits are damaged ({error}); send them again") from error
    if len(raw) != num_bytes or not stream.eof or stream.unused_data:
        raise InvalidInputError(
            f"packed bits do not unpack to {num_bytes} bytes, which a mask of {width} x {height} "
            "has; send the size that the mask was packed with"
        )
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=height * width)
    return bits.reshape(height, width).view(bool)  # zeros and ones


def encode_png(mask: Mask) -> bytes:
    """Mask bool [H, W] to a black and white PNG of 1 bit per pixel."""
    check_mask(mask)
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert done
    return bytes(data)


def decode_png(data: bytes) -> Mask:
    """A black and white PNG to a mask bool [H, W]. Raises InvalidImageError for other bytes."""
    header = probe(data)
    if header.format != "png":
        raise InvalidImageError(f"mask is a {header.format} file; send a PNG")
    return decode(data)[:, :, 0] > 127


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks bool [H, W]; 1.0 when both are empty."""
    both, either = _overlap(a, b)
    return both / either if either else 1.0


def dice(a: Mask, b: Mask) -> float:
    """Dice coefficient of two masks bool [H, W]; 1.0 when both are empty."""
    both, either = _overlap(a, b)
    return 2 * both / (both + either) if either else 1.0


def _overlap(a: Mask, b: Mask) -> tuple[int, int]:
    """(pixels of the intersection, pixels of the union)."""
    check_mask(a)
    check_mask(b)
    if a.shape != b.shape:
        raise InvalidInputError(
            f"masks have shapes {list(a.shape)} and {list(b.shape)}; compare masks of one image"
        )
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


def check_mask(mask: Mask) -> None:
    """Raise InvalidInputError unless `mask` is bool [H, W] with at least one pixel."""
    if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        raise InvalidInputError(
            f"mask is {mask.dtype} {list(mask.shape)}; expected bool [H, W] with at least one pixel"
        )


def check_size(height: int, width: int) -> None:
    """Refuse sizes that a few bytes could turn into gigabytes: InvalidInputError."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InvalidInputError(
            f"mask is {width} x {height} pixels; expected 1 to {MAX_PIXELS} pixels"
        )
