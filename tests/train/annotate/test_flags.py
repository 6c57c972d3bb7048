"""The truth table of review flags."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box
from apsam_train.annotate.flags import Flag, Thresholds, flags_of
from apsam_train.data.boxes import mask_box_iou

BOX = Box(left=10, top=10, right=30, bottom=30)


def rectangles(*corners: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros((48, 64), bool)
    for left, top, right, bottom in corners:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "score", "overlap", "expected"),
    [
        (rectangles((10, 10, 30, 30)), 0.9, 0.0, ()),
        (rectangles((10, 10, 30, 30)), 0.9, 0.4, ()),
        (rectangles((8, 8, 32, 32)), 0.9, 0.0, ()),  # within the slack of two pixels
        (rectangles(), 0.1, 0.0, (Flag.EMPTY,)),
        (rectangles((10, 10, 30, 30)), 0.69, 0.0, (Flag.LOW_SCORE,)),
        (rectangles((10, 10, 36, 30)), 0.9, 0.0, (Flag.LEAVES_BOX,)),
        (rectangles((10, 10, 20, 20)), 0.9, 0.0, (Flag.DISAGREES,)),
        (rectangles((10, 10, 13, 15)), 0.9, 0.0, (Flag.DISAGREES, Flag.TINY)),
        (rectangles((10, 10, 18, 30), (22, 10, 30, 30)), 0.9, 0.0, (Flag.FRAGMENTED,)),
        (rectangles((10, 10, 29, 29), (29, 29, 30, 30)), 0.9, 0.0, ()),  # corners touch
        (rectangles((10, 10, 30, 30)), 0.9, 0.51, (Flag.OVERLAPS,)),
        (
            rectangles((40, 2, 60, 40)),
            0.2,
            0.9,
            (Flag.LOW_SCORE, Flag.LEAVES_BOX, Flag.DISAGREES, Flag.OVERLAPS),
        ),
    ],
)
def test_a_mask_is_flagged_for_what_is_wrong_with_it(
    mask: NDArray[np.bool_], score: float, overlap: float, expected: tuple[Flag, ...]
) -> None:
    found = flags_of(
        mask,
        score=score,
        box=BOX,
        box_iou=mask_box_iou(mask, BOX),
        overlap=overlap,
        thresholds=Thresholds(),
    )
    assert found == expected
