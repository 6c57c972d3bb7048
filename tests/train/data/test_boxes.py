"""Boxes of masks and COCO's form of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from apsam_serve.contract.prompts import Box
from apsam_train.data.boxes import box_iou, from_bbox, mask_box, mask_box_iou, to_bbox
from apsam_train.data.rle import box_of_rle, mask_fields, to_rle

BOX = Box(left=10, top=5, right=30, bottom=25)


def rectangle() -> np.ndarray:
    mask = np.zeros((40, 50), bool)
    mask[5:25, 10:30] = True
    return mask


def test_a_masks_box_is_tight_however_it_is_found() -> None:
    rle = to_rle(rectangle())
    assert mask_box(rectangle()) == box_of_rle(rle) == BOX
    assert mask_fields(rle) == {"segmentation": rle, "area": 400, "bbox": [10, 5, 20, 20]}


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (BOX, 1.0),
        (Box(left=20, top=5, right=40, bottom=25), 1 / 3),
        (Box(left=30, top=5, right=50, bottom=25), 0.0),
        (Box(left=40, top=30, right=50, bottom=40), 0.0),
    ],
)
def test_boxes_agree_as_far_as_they_overlap(other: Box, iou: float) -> None:
    assert box_iou(BOX, other) == box_iou(other, BOX) == pytest.approx(iou)
    assert mask_box_iou(rectangle(), other) == pytest.approx(iou)


def test_an_empty_mask_agrees_with_no_box() -> None:
    assert mask_box_iou(np.zeros((40, 50), bool), BOX) == 0.0


def test_coco_boxes_go_there_and_back() -> None:
    assert to_bbox(BOX) == [10, 5, 20, 20]
    assert from_bbox(to_bbox(BOX)) == BOX
    with pytest.raises(ValueError, match="not enough values"):
        from_bbox([1, 2, 3])
