"""The three forms of a mask in COCO files, read as pycocotools reads them, to the pixel, without
pycocotools, which the console has no other use for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import Mask, Rle, check_size, decode_rle
from apsam_serve.errors import InvalidInputError

_SCALE = 5
"""pycocotools walks along an outline in steps of a fifth of a pixel."""
_MAX_STEPS = 2_000_000
"""Of one outline; the rim of a mask of a thousand holes has a hundred thousand."""

Ints = NDArray[np.int64]


def read_segmentation(segmentation: object, *, height: int, width: int) -> Mask:
    """Compressed or plain run lengths, or polygons [[x, y, ...], ...], as a mask bool [H, W].

    Raises InvalidInputError for anything else, and for a mask of another size.
    """
    check_size(height, width)
    match segmentation:
        case {"size": [int(rows), int(columns)], "counts": counts}:
            if (rows, columns) != (height, width):
                raise InvalidInputError(
                    f"mask is {columns} x {rows} pixels, its image {width} x {height}; give the "
                    "mask of this image"
                )
            if isinstance(counts, str):
                return decode_rle(Rle(height=height, width=width, counts=counts))
            return _from_runs(counts, height=height, width=width)
        case [_, *_]:
            mask = np.zeros((height, width), bool)
            for ring in segmentation:
                mask |= fill_polygon(_points(ring), height=height, width=width)
            return mask
    raise InvalidInputError(
        f"segmentation is {str(segmentation)[:60]!r}; expected run lengths with size and counts, "
        "or polygons [[x, y, ...], ...]"
    )


def fill_polygon(points: NDArray[np.float64], *, height: int, width: int) -> Mask:
    """Fill the outline float64 [n, 2] of (x, y) by the even-odd rule, on a mask bool [H, W]."""
    # C's conversion to int, which pycocotools has: towards zero.
    corners = np.trunc(_SCALE * points + 0.5).astype(np.int64)
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    if len(corners) < 2:
        return np.zeros((height, width), bool)
    steps = np.abs(corners - np.roll(corners, -1, axis=0)).max(axis=1).sum()
    if steps > _MAX_STEPS:
        raise InvalidInputError(
            f"polygon is {steps / _SCALE:.0f} pixels long; give at most {_MAX_STEPS // _SCALE}"
        )
    path = np.concatenate(
        [_walk(a, b) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    )
    before, after = path[:-1], path[1:]
    lower = np.minimum(before, after)
    x = (lower[:, 0] + 0.5) / _SCALE - 0.5
    y = np.ceil(((lower[:, 1] + 0.5) / _SCALE - 0.5).clip(0, height))
    crossing = (before[:, 0] != after[:, 0]) & (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    places = (x[crossing] * height + y[crossing]).astype(np.int64)
    turns = np.bincount(places, minlength=height * width + 1)[: height * width]
    inside = np.cumsum(turns) % 2 == 1
    return np.ascontiguousarray(inside.reshape(width, height).T)


def _walk(a: Ints, b: Ints) -> Ints:
    """Every step int64 [n, 2] from a to b, both included, along the longer axis."""
    long = 0 if abs(b[0] - a[0]) >= abs(b[1] - a[1]) else 1
    start, end = (a, b) if a[long] <= b[long] else (b, a)
    t = np.arange(end[long] - start[long] + 1)
    slope = (end[1 - long] - start[1 - long]) / (end[long] - start[long])
    path = np.empty((len(t), 2), np.int64)
    path[:, long] = t + start[long]
    path[:, 1 - long] = np.trunc(start[1 - long] + slope * t + 0.5)
    return path if start is a else path[::-1]


def _from_runs(counts: object, *, height: int, width: int) -> Mask:
    """Plain run lengths, column by column, background first."""
    runs = _numbers(counts)
    if (runs < 0).any() or runs.sum() != height * width or (runs % 1 != 0).any():
        raise InvalidInputError(
            f"counts add up to {runs.sum():.0f} pixels, the mask has {width} x {height} = "
            f"{height * width}; give every run, background first"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs.astype(np.int64))
    return np.ascontiguousarray(flat.reshape(width, height).T)


def _points(ring: object) -> NDArray[np.float64]:
    """[x, y, ...] as float64 [n, 2]."""
    values = _numbers(ring)
    if len(values) < 6 or len(values) % 2:
        raise InvalidInputError(
            f"polygon of {len(values)} numbers; give x, y of three points or more"
        )
    if np.abs(values).max() > 2**24:
        raise InvalidInputError(
            f"polygon has the coordinate {np.abs(values).max():.0f}; give pixels of the image"
        )
    return values.reshape(-1, 2)


def _numbers(values: object) -> NDArray[np.float64]:
    """A list of finite numbers."""
    plain = isinstance(values, Sequence) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    try:
        found = np.array(values if plain else [np.nan], np.float64)
    except OverflowError:  # an integer of hundreds of digits
        found = np.array([np.inf])
    if not np.isfinite(found).all():
        raise InvalidInputError(f"{str(values)[:60]!r} is no list of finite numbers; give one")
    return found
