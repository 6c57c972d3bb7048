"""Draws an answer over its image, for people."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.service.convert import Proposal

Rgb = tuple[int, int, int]
MASK: Rgb = (220, 20, 60)
ADAPTIVE: Rgb = (255, 200, 0)
POSITIVE: Rgb = (0, 160, 60)
NEGATIVE: Rgb = (200, 0, 200)
BOX: Rgb = (0, 110, 220)
WHITE: Rgb = (255, 255, 255)
PROPOSALS: tuple[Rgb, ...] = (MASK, BOX, POSITIVE, NEGATIVE, (200, 110, 0), (0, 140, 150))
"""Taken in turn, so that neighbours differ."""
_OPACITY = 0.45
_ADAPTIVE_BRANCHES = ("clusters", "fallback")


def draw(image: NDArray[np.uint8], prompt: Prompt, answer: Segmentation) -> NDArray[np.uint8]:
    """The RGB image uint8 [H, W, 3] with the mask, its outline and its category, the prompt
    (crosses: green on the object, purple beside it; blue box) and APG's own points (yellow
    discs)."""
    drawn = draw_mask(image, answer.mask)
    if answer.category is not None and answer.mask.any():
        _write(drawn, f"{answer.category} {answer.category_probability:.2f}", answer.mask)
    size = _mark_size(image)
    if prompt.box is not None:
        left_top = round(prompt.box.left), round(prompt.box.top)
        right_bottom = round(prompt.box.right), round(prompt.box.bottom)
        cv2.rectangle(drawn, left_top, right_bottom, BOX, max(1, size // 3))
    adaptive = [p for p in answer.points if p.positive and answer.branch in _ADAPTIVE_BRANCHES]
    for point in adaptive:
        cv2.circle(drawn, _pixel(point), size, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(drawn, _pixel(point), max(2, size - 1), ADAPTIVE, -1, cv2.LINE_AA)
    for point in prompt.points:
        colour = POSITIVE if point.positive else NEGATIVE
        cv2.drawMarker(drawn, _pixel(point), (0, 0, 0), cv2.MARKER_CROSS, 2 * size + 3, 3)
        cv2.drawMarker(drawn, _pixel(point), colour, cv2.MARKER_CROSS, 2 * size + 1, 1)
    return drawn


def draw_proposals(image: NDArray[np.uint8], proposals: Sequence[Proposal]) -> NDArray[np.uint8]:
    """The RGB image uint8 [H, W, 3] with each proposal in a colour of its own: mask, number from
    1, category, and a cross at the suggested click."""
    drawn = image.copy()
    colours = [PROPOSALS[index % len(PROPOSALS)] for index in range(len(proposals))]
    for one, colour in reversed([*zip(proposals, colours, strict=True)]):  # the strongest on top
        drawn = draw_mask(drawn, one.segmentation.mask, colour)
    for number, (one, colour) in enumerate(zip(proposals, colours, strict=True), 1):
        size = 2 * _mark_size(image) + 1
        cv2.drawMarker(drawn, _pixel(one.click), colour, cv2.MARKER_CROSS, size, 1)
        if one.segmentation.mask.any():
            text = f"{number} {one.segmentation.category or ''}".strip()
            _write(drawn, text, one.segmentation.mask, colour)
    return drawn


def draw_mask(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Rgb = MASK
) -> NDArray[np.uint8]:
    """The RGB image with a translucent mask, bool [H, W], and its outline."""
    drawn = image.copy()
    drawn[mask] = (image[mask] * (1 - _OPACITY) + np.array(colour) * _OPACITY).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, colour, max(1, _mark_size(image) // 3))
    return drawn


def _write(
    drawn: NDArray[np.uint8], text: str, mask: NDArray[np.bool_], colour: Rgb = MASK
) -> None:
    """White on a colour, above the mask's left top corner where the image has room for it."""
    scale = _mark_size(drawn) / 10
    (width, above), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = max(0, min(int(mask.any(axis=0).argmax()), drawn.shape[1] - width))
    bottom = max(int(mask.any(axis=1).argmax()), above + below)
    cv2.rectangle(drawn, (left, bottom - above - below), (left + width, bottom), colour, -1)
    place = (left, bottom - below)
    cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, 1, cv2.LINE_AA)


def _mark_size(image: NDArray[np.uint8]) -> int:
    """Radius of a mark in pixels."""
    return int(max(3, round(max(image.shape[:2]) / 100)))


def _pixel(point: Point) -> tuple[int, int]:
    return int(point.x), int(point.y)
