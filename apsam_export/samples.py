"""Fixed pictures for the parity check: overlapping bars, discs and rings on a light ground.

Drawn, not random noise, so that masks have edges, thin parts and overlaps to disagree about.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box, Point, Prompt

COLOURS = ((240, 170, 90), (120, 190, 110), (60, 120, 210), (30, 40, 80))
"""Organic orange, inorganic green, metal blue, dense: as scanners show them."""


def sample(number: int, *, side: int) -> tuple[NDArray[np.uint8], list[Prompt]]:
    """Picture `number` as RGB uint8 [H, W, 3] (square, wide or high by turns) and prompts on it."""
    rng = np.random.default_rng(number)
    height, width = ((side, side), (side * 3 // 4, side), (side, side * 2 // 3))[number % 3]
    shades = np.full((height, width, 3), 250, np.float32)
    centres = []
    for shape in range(5):
        layer = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(width // 8, width * 7 // 8)), int(rng.integers(height)))
        _draw(layer, centre, shape, size=int(rng.integers(side // 20, side // 5)), rng=rng)
        colour = np.array(COLOURS[int(rng.integers(len(COLOURS)))], np.float32) / 255
        shades = np.where(layer[..., None] > 0, shades * colour, shades)
        centres.append(Point(x=float(centre[0]), y=float(min(centre[1], height - 1))))
    image = shades.round().astype(np.uint8)
    prompts = [Prompt(points=(centre,)) for centre in centres]
    prompts.append(Prompt(points=(centres[0], Point(x=2.0, y=3.0, positive=False))))
    prompts.append(Prompt(box=Box(left=4, top=4, right=width / 2, bottom=height / 2)))
    return image, prompts


def _draw(
    layer: NDArray[np.uint8],
    centre: tuple[int, int],
    shape: int,
    *,
    size: int,
    rng: np.random.Generator,
) -> None:
    angle = float(rng.uniform(0, 180))
    if shape == 0:
        cv2.ellipse(layer, centre, (size * 2, max(1, size // 8)), angle, 0, 360, 255, -1)
    elif shape == 1:
        cv2.circle(layer, centre, size, 255, max(1, size // 4))
    elif shape == 2:
        corners = cv2.boxPoints((centre, (size * 2.0, float(size)), angle))
        cv2.fillPoly(layer, [corners.astype(np.int32)], 255)
    elif shape == 3:
        cv2.circle(layer, centre, max(2, size // 6), 255, -1)
    else:
        cv2.ellipse(layer, centre, (size, size // 2), angle, 0, 360, 255, -1)
