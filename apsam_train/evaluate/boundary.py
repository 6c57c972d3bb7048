"""Boundary IoU (Cheng 2021): IoU of the bands along two outlines, which area hides in IoU."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou

_BAND = 0.02
"""Width of the band, as a share of the image's diagonal."""


def boundary_iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Of two masks bool [H, W]; 1.0 when both are empty."""
    either = predicted | truth
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not len(rows):
        return 1.0
    width = max(1, round(_BAND * math.hypot(*truth.shape)))
    # Only the part with anything in it is eroded; a mask's band ends at the image's border too.
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return mask_iou(_band(predicted[part], width), _band(truth[part], width))


def _band(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a mask that lie at most `width` from its outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(padded, kernel, iterations=width)[1:-1, 1:-1]
    band: NDArray[np.bool_] = mask & (inner == 0)
    return band
