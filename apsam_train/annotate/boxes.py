"""Boxes of masks, and how far two boxes agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """The tight box of a mask bool [H, W], right and bottom exclusive; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return Box(
        left=float(columns[0]),
        top=float(rows[0]),
        right=float(columns[-1] + 1),
        bottom=float(rows[-1] + 1),
    )


def box_iou(a: Box | None, b: Box | None) -> float:
    """Intersection over union of two boxes; 0.0 where one of them is None."""
    if a is None or b is None:
        return 0.0
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (_area(a) + _area(b) - both)


def to_bbox(box: Box) -> list[float]:
    """COCO's [x, y, width, height]."""
    return [box.left, box.top, box.right - box.left, box.bottom - box.top]


def from_bbox(values: list[float]) -> Box:
    """The box of COCO's [x, y, width, height]."""
    left, top, width, height = values
    return Box(left=left, top=top, right=left + width, bottom=top + height)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
