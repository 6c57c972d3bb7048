"""Reasons why a person should look at a proposed mask first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box


class Flag(StrEnum):
    """What can look wrong with a proposal."""

    EMPTY = "empty"
    LOW_SCORE = "low score"
    LEAVES_BOX = "leaves its box"
    DISAGREES = "disagrees with its box"
    TINY = "tiny"
    FRAGMENTED = "fragmented"
    OVERLAPS = "overlaps another proposal"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When a proposal is flagged.

    score: predicted IoU below it; outside: a larger share of the mask outside its known box, which
    may be `slack` pixels too small on every side; box_iou: mask's box and known box agree less;
    area: fewer pixels; largest_part: the largest connected part holds a smaller share of the mask;
    overlap: a larger IoU with another proposal (things in a bag shine through each other, so it
    takes two masks of the same thing to be wrong).
    """

    score: float = 0.7
    outside: float = 0.05
    slack: float = 2.0
    box_iou: float = 0.5
    area: int = 16
    largest_part: float = 0.9
    overlap: float = 0.5


def flags_of(
    mask: NDArray[np.bool_],
    *,
    score: float,
    box: Box,
    box_iou: float,
    overlap: float,
    thresholds: Thresholds,
) -> tuple[Flag, ...]:
    """The flags of a mask bool [H, W]. box: the known one; box_iou: the mask's box with it;
    overlap: its largest IoU with another proposal of the image."""
    area = int(mask.sum())
    if area == 0:
        return (Flag.EMPTY,)
    outside = 1 - int(mask[_pixels(box, thresholds.slack)].sum()) / area
    found = {
        Flag.LOW_SCORE: score < thresholds.score,
        Flag.LEAVES_BOX: outside > thresholds.outside,
        Flag.DISAGREES: box_iou < thresholds.box_iou,
        Flag.TINY: area < thresholds.area,
        Flag.FRAGMENTED: _largest_part(mask) < thresholds.largest_part * area,
        Flag.OVERLAPS: overlap > thresholds.overlap,
    }
    return tuple(flag for flag, is_raised in found.items() if is_raised)


def _pixels(box: Box, slack: float) -> tuple[slice, slice]:
    rows = slice(max(0, int(box.top - slack)), int(np.ceil(box.bottom + slack)))
    columns = slice(max(0, int(box.left - slack)), int(np.ceil(box.right + slack)))
    return rows, columns


def _largest_part(mask: NDArray[np.bool_]) -> int:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return int(stats[1:, cv2.CC_STAT_AREA].max())
