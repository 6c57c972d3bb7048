"""Logits of many kinds of masks, and the arrays of a launch."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rng = np.random.Generator


def _blob(rng: Rng, side: int) -> Floats:
    """Clouds with real logits, which have a core."""
    noise = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), rng.uniform(0.02, 0.12) * side)
    scaled = (noise - np.quantile(noise, rng.uniform(0.5, 0.99))) / noise.std()
    return np.asarray(4 * scaled, np.float32)


def _drawn(draw: Callable[[NDArray[np.uint8], Rng, int], object]) -> Callable[[Rng, int], Floats]:
    def logits(rng: Rng, side: int) -> Floats:
        mask = np.zeros((side, side), np.uint8)
        draw(mask, rng, side)
        return np.where(mask > 0, rng.uniform(0.5, 4), -1).astype(np.float32)

    return logits


def _line(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    start, end = rng.integers(0, side, (2, 2)).tolist()
    cv2.line(mask, start, end, 1, int(rng.integers(1, 4)))


def _ring(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    """Whole circles too: every direction is principal, ties are common."""
    centre = rng.integers(0, side, 2).tolist()
    radius = int(rng.integers(1, side // 2))
    cv2.circle(mask, centre, radius, 1, int(rng.integers(-1, 4)) or 1)


def _two_rectangles(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    for _ in range(2):
        y, x, height, width = rng.integers(0, side // 2, 4)
        mask[y : y + height + 1, x : x + width + 1] = 1


def _few_pixels(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    """Small patterns, where exact ties are common."""
    span = int(rng.integers(2, min(side, 20)))
    mask[:span, :span] = rng.random((span, span)) < rng.uniform(0.02, 0.6)


def _mirrored(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    half = rng.random((side, side // 2)) < rng.uniform(0.001, 0.3)
    mask[:, : side // 2], mask[:, side // 2 :] = half, half[:, ::-1]


def _single_pixel(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    mask[tuple(rng.integers(0, side, 2))] = 1


def _tied(mask: NDArray[np.uint8], rng: Rng, side: int) -> None:
    """Two ends and pixels exactly between them, on bisectors of every slope."""
    x, y = rng.integers(-3, 4, 2).tolist()
    most = (side // 2 - 1) // max(abs(x), abs(y), 1)
    steps = int(rng.integers(most // 2, most + 1))
    middle = side // 2
    for step in {steps, -steps}:
        mask[middle + step * y, middle + step * x] = 1
    for step in range(1 - steps, steps):
        mask[middle - step * x, middle + step * y] = rng.integers(0, 2)


def _faint(rng: Rng, side: int) -> Floats:
    """Values that rounding makes zero beside others, where the order of operations shows."""
    return rng.choice([-5, -1, 1e-9, 1e-7, 2], (side, side)).astype(np.float32)


def _noise(rng: Rng, side: int) -> Floats:
    return np.asarray(rng.normal(rng.uniform(-3, 1), 1, (side, side)), np.float32)


def _full(rng: Rng, side: int) -> Floats:
    return np.full((side, side), rng.uniform(0.5, 4), np.float32)


def _empty(rng: Rng, side: int) -> Floats:
    return np.full((side, side), rng.choice([-1.0, 0.0]), np.float32)


SHAPES: tuple[Callable[[Rng, int], Floats], ...] = (
    _blob,
    _blob,
    _drawn(_line),
    _drawn(_ring),
    _drawn(_two_rectangles),
    _drawn(_few_pixels),
    _drawn(_mirrored),
    _drawn(_tied),
    _drawn(_single_pixel),
    _faint,
    _noise,
    _full,
    _empty,
)


def random_logits(rng: Rng, num: int, side: int) -> Floats:
    """Logits float32 [num, L, L], one kind after another."""
    return np.stack([SHAPES[i % len(SHAPES)](rng, side) for i in range(num)])


def tied_logits(rng: Rng, num: int, side: int) -> Floats:
    """Logits float32 [num, L, L] with many pixels exactly between the ends of the mask."""
    return np.stack([_drawn(_tied)(rng, side) for _ in range(num)])


def random_prompts(rng: Rng, num: int) -> tuple[Floats, Floats]:
    """Prompts of one decode as `to_decoder` builds them: coords [num, N, 2] and labels [num, N].

    Points in any order, then a box's corners or the padding point.
    """
    num_points, with_box = int(rng.integers(0, 6)), bool(rng.integers(0, 2))
    labels = rng.integers(0, 2, (num, num_points))
    ends = [[2, 3]] if with_box else [[-1]]
    labels = np.concatenate([labels, np.repeat(ends, num, axis=0)], axis=1).astype(np.float32)
    coords = rng.uniform(0, 512, (*labels.shape, 2)).astype(np.float32)
    coords[labels == -1] = 0
    return coords, labels
