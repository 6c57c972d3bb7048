"""Peaks of attention maps, and masks that are one object."""

from __future__ import annotations

import numpy as np
import pytest

from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.engine.proposals import ProposeOptions, on_image, peaks, without_overlaps
from apsam_serve.errors import InvalidInputError

FRAME = LetterBox.fit(height=600, width=1200, side=512)  # 512 x 256 model pixels


def _attention(**at: float) -> np.ndarray:
    """[64, 64] with values at "x_y"."""
    made = np.full((64, 64), 1e-6, np.float32)
    for place, value in at.items():
        x, y = map(int, place[1:].split("_"))
        made[y, x] = value
    return made


def test_peaks_are_clicks_in_image_pixels_strongest_first() -> None:
    found = peaks(_attention(p10_5=0.2, p50_20=0.4), FRAME, max_peaks=9)
    assert [(p.click.x, p.click.y) for p in found] == [
        pytest.approx((50.5 * 8 * 1200 / 512, 20.5 * 8 * 600 / 256)),
        pytest.approx((10.5 * 8 * 1200 / 512, 5.5 * 8 * 600 / 256)),
    ]
    assert [p.attention for p in found] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ({"p10_5": 0.2, "p11_6": 0.19}, 1),
        ({"p10_5": 0.2, "p11_5": 0.2}, 1),
        ({"p10_5": 0.2, "p13_5": 0.2}, 2),
        ({"p10_5": 0.2, "p30_5": 0.003}, 1),
        ({"p10_5": 0.2, "p30_40": 0.9}, 1),
        ({"p0_0": 0.2, "p63_31": 0.2}, 2),
    ],
    ids=["neighbour", "plateau", "apart", "too weak", "on the padding", "corners"],
)
def test_what_counts_as_a_peak_of_its_own(at: dict[str, float], expected: int) -> None:
    found = peaks(_attention(**at), FRAME, max_peaks=9)
    assert len(found) == expected
    assert all(0 <= p.click.x < 1200 and 0 <= p.click.y < 600 for p in found)


@pytest.mark.parametrize(
    ("height", "width", "cells"), [(600, 1200, (32, 64)), (60, 80, (48, 64)), (1000, 3, (64, 1))]
)
def test_attention_without_padding_lies_on_the_image(
    height: int, width: int, cells: tuple[int, int]
) -> None:
    frame = LetterBox.fit(height=height, width=width, side=512)
    given = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    found = on_image(given, frame)
    assert np.array_equal(found.values, given[: cells[0], : cells[1]])
    assert abs(cells[0] * found.cell_height - height) <= found.cell_height / 2
    assert cells[1] == 1 or abs(cells[1] * found.cell_width - width) <= found.cell_width / 2


def test_no_more_peaks_than_asked_for_and_none_without_attention() -> None:
    at = {f"p{x}_{y}": 0.1 for x in range(0, 64, 6) for y in range(0, 32, 6)}
    assert len(peaks(_attention(**at), FRAME, max_peaks=7)) == 7
    assert peaks(np.zeros((64, 64), np.float32), FRAME, max_peaks=7) == []


def test_a_mask_that_overlaps_an_earlier_one_too_much_is_left_out() -> None:
    def square(left: int, right: int) -> np.ndarray:
        mask = np.zeros((50, 100), bool)
        mask[:, left:right] = True
        return mask

    masks = [square(0, 50), square(5, 55), square(40, 90), square(60, 100), square(60, 100)]
    assert without_overlaps(masks, 0.7) == [0, 2, 3]
    assert without_overlaps(masks, 0.1) == [0, 3]
    assert without_overlaps(masks, 1.0) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_proposals": 0},
        {"max_proposals": 65},
        {"min_score": 1.5},
        {"max_overlap": 0.0},
        {"min_score": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        ProposeOptions(**wrong)  # type: ignore[arg-type]
