"""Boxes of masks, COCO's form of boxes, and how far two boxes agree."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """The tight box of a mask bool [H, W] that is not empty; right and bottom are exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(
        left=float(columns[0]),
        top=float(rows[0]),
        right=float(columns[-1] + 1),
        bottom=float(rows[-1] + 1),
    )


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (_area(a) + _area(b) - both)


def mask_box_iou(mask: NDArray[np.bool_], box: Box) -> float:
    """IoU of the tight box of a mask bool [H, W] with a box; 0.0 where the mask is empty."""
    return box_iou(mask_box(mask), box) if mask.any() else 0.0


def to_bbox(box: Box) -> list[float]:
    """COCO's [x, y, width, height]."""
    return [box.left, box.top, box.right - box.left, box.bottom - box.top]


def from_bbox(values: Iterable[float]) -> Box:
    """The box of COCO's [x, y, width, height]. Raises ValueError for more or fewer values."""
    left, top, width, height = (float(value) for value in values)
    return Box(left=left, top=top, right=left + width, bottom=top + height)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
