"""Screening without a click: the places that the energy branch looks at become clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import MAX_PROMPTS, Point
from apsam_serve.errors import InvalidInputError

_WINDOW = 5
"""Attention cells (8 model pixels each) within which only the strongest peak counts."""
_MIN_SHARE = 0.02
"""Of the strongest peak; what is weaker is the floor that a softmax leaves everywhere."""


@dataclass(frozen=True, kw_only=True)
class ProposeOptions:
    """max_proposals: 1 to 64; min_score: least predicted IoU; max_overlap: IoU above which two
    masks are one object. Raises InvalidInputError."""

    max_proposals: int = 16
    min_score: float = 0.0
    max_overlap: float = 0.7

    def __post_init__(self) -> None:
        if not 1 <= self.max_proposals <= MAX_PROMPTS:
            raise InvalidInputError(
                f"max_proposals is {self.max_proposals}; give 1 to {MAX_PROMPTS}"
            )
        if not 0 <= self.min_score <= 1:
            raise InvalidInputError(f"min_score is {self.min_score}; give 0 to 1")
        if not 0 < self.max_overlap <= 1:
            raise InvalidInputError(f"max_overlap is {self.max_overlap}; give above 0, at most 1")

    @property
    def num_candidates(self) -> int:
        """Clicks to try: some masks overlap or score too low."""
        return min(2 * self.max_proposals, MAX_PROMPTS)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMap:
    """Where the energy branch looked. values: float32 [rows, columns], at least 0, without the
    frame's padding; value (row, column) is that of the cell whose left top corner is the image
    pixel (column * cell_width, row * cell_height)."""

    values: NDArray[np.float32]
    cell_height: float
    cell_width: float


@dataclass(frozen=True, kw_only=True)
class Peak:
    """click: in image pixels; attention: over that at the strongest peak."""

    click: Point
    attention: float


def on_image(attention: NDArray[np.float32], frame: LetterBox) -> AttentionMap:
    """The cells of the attention float32 [S / 8, S / 8] that lie on the image, by half at least."""
    stride = frame.side // attention.shape[0]
    rows = max(1, (frame.model_height + stride // 2) // stride)
    columns = max(1, (frame.model_width + stride // 2) // stride)
    return AttentionMap(
        values=np.ascontiguousarray(attention[:rows, :columns]),
        cell_height=stride * frame.height / frame.model_height,
        cell_width=stride * frame.width / frame.model_width,
    )


def peaks(attention: NDArray[np.float32], frame: LetterBox, *, max_peaks: int) -> list[Peak]:
    """Local maxima of the attention float32 [S / 8, S / 8] on the image, strongest first."""
    stride = frame.side // attention.shape[0]
    inside = on_image(attention, frame).values
    highest = cv2.dilate(inside, np.ones((_WINDOW, _WINDOW), np.uint8))
    is_peak = (inside == highest) & (inside > _MIN_SHARE * inside.max())
    y, x = np.nonzero(is_peak)
    order = np.argsort(-inside[y, x], kind="stable")
    places = frame.to_image((np.stack([x, y], axis=1) + 0.5) * stride)
    strongest = float(inside.max())
    found: list[Peak] = []
    taken = np.zeros_like(is_peak)  # a plateau is one peak
    reach = _WINDOW // 2
    for index in order:
        if len(found) == max_peaks:
            break
        row, column = int(y[index]), int(x[index])
        if taken[row, column]:
            continue
        taken[
            max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
        ] = 1
        click = Point(
            x=min(float(places[index, 0]), frame.width - 0.5),
            y=min(float(places[index, 1]), frame.height - 0.5),
        )
        found.append(Peak(click=click, attention=float(inside[row, column]) / strongest))
    return found


def without_overlaps(masks: Sequence[NDArray[np.bool_]], max_overlap: float) -> list[int]:
    """Positions of the masks to keep: none overlaps an earlier kept one by more (IoU)."""
    packed = [np.packbits(mask) for mask in masks]
    areas = [int(np.bitwise_count(bits).sum()) for bits in packed]
    kept: list[int] = []
    for index, bits in enumerate(packed):
        for other in kept:
            shared = int(np.bitwise_count(bits & packed[other]).sum())
            if shared > max_overlap * (areas[index] + areas[other] - shared):
                break
        else:
            kept.append(index)
    return kept
