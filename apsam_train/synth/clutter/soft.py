"""Layers that fill a bag: garments with folds, books, shoes."""

import numpy as np
from numpy.typing import NDArray

from ..shapes import Drawing, box, ellipse, smooth
from .texture import crop


def garment(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    """A crumpled or folded piece of cloth; `field` is the picture's fold texture."""
    d = Drawing()
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    reach = size_mm * rng.uniform(0.55, 1.0, 9)
    blob = np.stack([reach * np.cos(angle), reach * np.sin(angle) * rng.uniform(0.5, 1)], axis=1)
    material = str(rng.choice(["cotton", "cotton", "cotton", "nylon", "leather"]))
    depth = rng.uniform(6, 34) * (1.0 if material == "cotton" else 0.25)
    side = field.shape[0]
    window = min(side, 400)
    d.plate(smooth(blob, 2), material, depth, texture=crop(rng, field, window, window))
    for _ in range(int(rng.integers(0, 3))):
        half = blob * rng.uniform(0.5, 0.9) + rng.uniform(-0.2, 0.2, 2) * size_mm
        d.plate(smooth(half, 2), material, depth * 0.5, texture=crop(rng, field, window, window))
    if rng.random() < 0.3:
        for x in np.arange(-size_mm * 0.3, size_mm * 0.3, 22.0):
            d.ball((float(x), size_mm * 0.1), (5, 5), 1.6, "abs")
    if rng.random() < 0.2:
        d.stroke([(-size_mm * 0.4, 4), (size_mm * 0.3, -6)], 4, "brass", thickness=0.5)
    return d


def book(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    w, h = rng.uniform(52, 105), rng.uniform(75, 148)
    thick = rng.uniform(8, 36)
    d.plate(box(-w, -h, w, h), "paper", thick)
    d.plate(box(-w - 2, -h - 3, w + 3, h + 3), "paper", rng.uniform(2, 5))
    d.plate(box(-w, -h, -w + 7, h), "paper", thick * 0.3)
    if rng.random() < 0.3:
        for y in np.arange(-h + 6, h - 5, 8.0):
            d.stroke([(-w - 4, y), (-w + 5, y + 2)], 1.8, "steel", thickness=1.5)
    return d


def shoe(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    length, width = rng.uniform(115, 150), rng.uniform(38, 50)
    sole = smooth(
        [
            (-length, -width * 0.5),
            (-length * 0.2, -width * 0.55),
            (length * 0.5, -width * 0.95),
            (length, -width * 0.2),
            (length * 0.9, width * 0.5),
            (length * 0.4, width * 0.8),
            (-length * 0.2, width * 0.5),
            (-length, width * 0.6),
        ],
        2,
    )
    d.plate(sole, "rubber", rng.uniform(9, 18))
    d.plate(sole * 0.9, "leather", 5, texture=crop(rng, field, 200, 200))
    d.stroke(sole, 5, "rubber", thickness=18, closed=True)
    d.plate(sole[-10:] * (0.9, 0.9), "rubber", 14)
    if rng.random() < 0.5:
        d.plate(box(-length * 0.55, -7, length * 0.15, 7, 3), "steel", 1.2)
    for x in np.linspace(0, length * 0.4, 5):
        for y in (-12.0, 12.0):
            d.stroke(ellipse((float(x), y), (4, 4), count=10), 1.8, "brass", closed=True)
    for x in np.linspace(-length * 0.8, length * 0.7, 9):
        d.stroke([(x, -width * 0.35), (x + 6, width * 0.35)], 3, "rubber", thickness=4)
    return d
