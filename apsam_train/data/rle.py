"""Masks as run lengths in COCO's JSON form, compared without unpacking them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.contract.masks import encode_rle
from apsam_serve.contract.prompts import Box
from apsam_train.data.boxes import from_bbox

Rle = dict[str, Any]
"""{"size": [H, W], "counts": COCO's compressed string}."""


def to_rle(mask: NDArray[np.bool_]) -> Rle:
    """A mask bool [H, W] in COCO's form."""
    encoded = encode_rle(mask)
    return {"size": [encoded.height, encoded.width], "counts": encoded.counts}


def mask_fields(rle: Rle) -> dict[str, Any]:
    """The fields of a COCO annotation that follow from its mask."""
    return {
        "segmentation": rle,
        "area": int(coco_mask.area(rle)),
        "bbox": [float(value) for value in coco_mask.toBbox(rle)],
    }


def box_of_rle(rle: Rle) -> Box:
    """The tight box of a mask that is not empty."""
    return from_bbox(coco_mask.toBbox(rle))


def iou_table(first: Sequence[Rle], second: Sequence[Rle]) -> NDArray[np.float64]:
    """IoU of every pair of masks of one image: float64 [len(first), len(second)]."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    table = coco_mask.iou(list(first), list(second), [0] * len(second))
    return np.asarray(table, np.float64).reshape(len(first), len(second))


def pair_iou(first: Rle, second: Rle) -> float:
    """IoU of two masks of one image."""
    return float(iou_table([first], [second])[0, 0])
