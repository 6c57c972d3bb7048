"""Plain transparent shapes: what a model without pretrained weights learns first.

SAM met a billion masks of natural pictures before any bag. Shapes that multiply like things in a
beam, in colours no scanner has, teach a small model in minutes what a click on one thing among
others means; bags alone take far longer (bench/results).
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Draw = Callable[[NDArray[np.uint8], NDArray[np.float64], float, np.random.Generator], None]

_RADIUS = (0.05, 0.22)
"""Smallest and largest, as shares of the side; drawn evenly in their logarithm."""
_TWO_MATERIALS = 0.4
"""Share of the shapes that are made of two materials, as a knife is of blade and handle."""
_LEAST_PIXELS = 30
_NOISE = 0.015
_TEXTURE = 0.06


def plain_shapes(
    *, side: int, num_instances: tuple[int, int], texture: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Mask]]:
    """RGB uint8 [side, side, 3] and the amodal mask of every shape, bool [side, side].

    texture: strength of the mottled background, 1 is usual.
    """
    image = np.broadcast_to(rng.uniform(0.7, 1.0, 3), (side, side, 3)).astype(np.float32)
    mottled = rng.normal(0, _TEXTURE * texture, (16, 16, 3)).astype(np.float32)
    image = image + cv2.resize(mottled, (side, side))
    masks = []
    for _ in range(int(rng.integers(num_instances[0], num_instances[1] + 1))):
        mask = _shape(side, rng)
        if mask.sum() < _LEAST_PIXELS:
            continue
        image[mask] *= _colour(rng)
        if rng.random() < _TWO_MATERIALS:
            image[_part(mask, rng)] *= _colour(rng)
        masks.append(mask)
    image += rng.normal(0, _NOISE, image.shape).astype(np.float32)
    return (image.clip(0, 1) * 255).astype(np.uint8), masks


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """What is left of each channel behind a material."""
    return np.exp(-rng.uniform(0.1, 1.8, 3)).astype(np.float32)


def _part(mask: Mask, rng: np.random.Generator) -> Mask:
    """The side of a mask that lies right of a random column."""
    columns = np.flatnonzero(mask.any(axis=0))
    part = mask.copy()
    part[:, : int(rng.integers(columns[0], columns[-1] + 1))] = False
    return part


def _shape(side: int, rng: np.random.Generator) -> Mask:
    canvas = np.zeros((side, side), np.uint8)
    radius = side * math.exp(rng.uniform(*np.log(_RADIUS)))
    draw = _KINDS[int(rng.integers(len(_KINDS)))]
    draw(canvas, rng.uniform(0.12, 0.88, 2) * side, radius, rng)
    return canvas > 0


def _disc(
    canvas: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> None:
    axes = (int(radius), int(radius * rng.uniform(0.3, 1)))
    cv2.ellipse(canvas, _pixel(centre), axes, rng.uniform(0, 360), 0, 360, (1,), -1)


def _bar(
    canvas: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> None:
    """A rod, half of the time with a knob at one end."""
    angle = rng.uniform(0, 2 * math.pi)
    half = np.array([math.cos(angle), math.sin(angle)]) * radius * rng.uniform(0.75, 1.5)
    width = max(3, int(radius * rng.uniform(0.15, 0.5)))
    cv2.line(canvas, _pixel(centre - half), _pixel(centre + half), (1,), width)
    if rng.random() < 0.5:
        knob = int(width * rng.uniform(0.8, 1.6))
        cv2.circle(canvas, _pixel(centre + half), knob, (1,), -1)


def _polygon(
    canvas: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> None:
    corners = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = radius * rng.uniform(0.5, 1.2, corners)
    points = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    cv2.fillPoly(canvas, [points.astype(np.int32)], (1,))


def _ring(
    canvas: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> None:
    axes = (int(radius), int(radius * rng.uniform(0.5, 1)))
    width = max(2, int(radius * rng.uniform(0.2, 0.4)))
    cv2.ellipse(canvas, _pixel(centre), axes, rng.uniform(0, 360), 0, 360, (1,), width)


_KINDS: tuple[Draw, ...] = (_disc, _bar, _polygon, _ring)


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])
