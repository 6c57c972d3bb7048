"""Outlines along the edges of pixels, as COCO, YOLO and DICOS draw them.

A point (x, y) is a corner of pixels: pixel (0, 0) has the corners (0, 0) to (1, 1). `contract`'s
outlines run through the middles of pixels instead. A polygon is one closed line, even where the
mask has holes or several pieces: a cut there and back, of no width, leads from ring to ring, and
whoever fills a polygon by the even-odd rule, as pycocotools does, gets the mask back exactly.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import Mask

Ring = NDArray[np.int64]
"""Corners int64 [n, 2] of (x, y), closed implicitly."""
_PARENT = 3
"""Column of OpenCV's tree of contours: negative for an outer one, else whose hole it is."""


def pieces(mask: Mask) -> list[list[Ring]]:
    """The rings of every piece of a mask bool [H, W], the outer one first and then its holes';
    pixels that touch at a corner are one piece."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return []
    origin = np.array((columns[0], rows[0]))
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].view(np.uint8)
    # Twice as large, every corner of a pixel lies between two pixels of the contour.
    double = np.repeat(np.repeat(inside, 2, axis=0), 2, axis=1)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parents = tree[0, :, _PARENT]
    found: dict[int, list[Ring]] = {int(one): [] for one in np.flatnonzero(parents < 0)}
    for number in np.argsort(parents >= 0, kind="stable"):
        ring = _corners(np.asarray(contours[number], np.int64)[:, 0]) + origin
        found[int(number if parents[number] < 0 else parents[number])].append(ring)
    return list(found.values())


def polygons(mask: Mask) -> list[Ring]:
    """One polygon per piece of a mask bool [H, W], its holes cut out."""
    return [joined(rings) for rings in pieces(mask)]


def polygon(mask: Mask) -> Ring:
    """The whole mask bool [H, W] as one polygon, [0, 2] where it is empty."""
    rings = [ring for piece in pieces(mask) for ring in piece]
    return joined(rings) if rings else np.zeros((0, 2), np.int64)


def joined(rings: list[Ring]) -> Ring:
    """One closed line through all rings. From left to right, each is cut in at its leftmost corner,
    from the nearest corner of what is there."""
    line, *rest = sorted(rings, key=lambda ring: int(ring[:, 0].min()))
    for ring in rest:
        start = int(ring[:, 0].argmin())
        at = int(((line - ring[start]) ** 2).sum(axis=1).argmin())
        around = np.concatenate([ring[start:], ring[: start + 1]])
        line = np.concatenate([line[: at + 1], around, line[at:]])
    return line


def _corners(contour: Ring) -> Ring:
    """From a contour of the doubled mask to the corners where the edge turns."""
    points = (contour + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before == -after).all(axis=1)
    corners: Ring = points[turns | back]
    return corners
