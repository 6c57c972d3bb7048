"""A mask as outlines, for callers that draw: JSON rings of the pixels on the rim of each piece.

A ring names pixels that belong to the mask by column and row, so the outline runs through the
middles of the rim: a single pixel is one point, a line one pixel wide is walked there and back.
Pixels that touch at a corner are one piece. Only the rim's corners are named, and from one to the
next it goes straight or exactly diagonally, so nothing is lost but holes, which are filled.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import Mask, check_mask, check_size
from apsam_serve.errors import InvalidInputError

MAX_BYTES = 16 * 2**20
"""Bytes of JSON that are read: room for a million points, where a mask has hundreds."""
_MAX_VISITS = 4
"""No rim passes a pixel more often."""
_Ring = NDArray[np.int32]


def encode_polygons(mask: Mask) -> bytes:
    """Mask bool [H, W] to a JSON list of rings [[x, y], ...], closed implicitly, the ring of most
    pixels first; `[]` for an empty mask."""
    check_mask(mask)
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = [np.asarray(ring, np.int32)[:, 0] for ring in found]
    rings.sort(key=_num_pixels, reverse=True)
    return json.dumps([ring.tolist() for ring in rings], separators=(",", ":")).encode("ascii")


def decode_polygons(data: bytes, *, height: int, width: int) -> Mask:
    """The mask bool [H, W] on and inside the rings; points between pixels go to the nearest.

    Raises InvalidInputError for what is no list of rings inside the image, and for rings that would
    keep the reader busy: longer than any rim, or lying over each other many times.
    """
    check_size(height, width)
    rings = [
        _checked(index, ring, height=height, width=width) for index, ring in enumerate(_read(data))
    ]
    area, length = sum(map(_num_pixels, rings)), sum(map(_length, rings))
    if area > height * width or length > _MAX_VISITS * height * width:
        raise InvalidInputError(
            f"rings cover {area:.0f} pixels and are {length:.0f} long, too much for a mask of "
            f"{width} x {height} pixels; send rings that do not overlap"
        )
    mask = np.zeros((height, width), np.uint8)
    for ring in rings:
        cv2.fillPoly(mask, [ring], 1)
    return mask.view(bool)


def _read(data: bytes) -> list[object]:
    if len(data) > MAX_BYTES:
        raise InvalidInputError(
            f"polygons have {len(data)} bytes; send at most {MAX_BYTES}, or another mask encoding"
        )
    try:
        rings = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"polygons are no JSON ({error}); send a list of rings [[x, y], ...]"
        ) from error
    if not isinstance(rings, list):
        raise InvalidInputError(
            f"polygons are a JSON {type(rings).__name__}; send a list of rings [[x, y], ...]"
        )
    return rings


def _checked(index: int, ring: object, *, height: int, width: int) -> _Ring:
    """One ring as int32 [n, 2]."""
    try:
        points = np.array(ring)
    except ValueError:  # rows of different lengths
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iuf":
        raise InvalidInputError(
            f"ring {index} is not a list of [x, y] numbers with at least one point; send "
            "[[x, y], ...]"
        )
    inside = (points >= 0) & (points <= (width - 1, height - 1))  # false for NaN
    wrong = np.flatnonzero(~inside.all(axis=1))
    if len(wrong):
        x, y = points[wrong[0]]
        raise InvalidInputError(
            f"ring {index} has the point ({x}, {y}); give 0 <= x <= {width - 1} and "
            f"0 <= y <= {height - 1}"
        )
    return np.asarray(np.rint(points), np.int32)


def _length(ring: _Ring) -> float:
    """Steps from pixel to pixel all around, where a diagonal step counts as one."""
    steps = np.abs(ring - np.roll(ring, 1, axis=0))
    return float(steps.max(axis=1).sum(dtype=np.int64))


def _num_pixels(ring: _Ring) -> float:
    """Pixels on and inside a ring, by Pick's theorem."""
    return float(cv2.contourArea(ring)) + _length(ring) / 2 + 1
