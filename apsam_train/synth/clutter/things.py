"""Everyday things of plastic and metal: chargers, cables, boards, keys, toiletries, fruit."""

import numpy as np
from numpy.typing import NDArray

from ..shapes import Drawing, box, ellipse, smooth


def cable(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    """A coil of copper in PVC with plugs; drawn in pieces so that crossings add up."""
    d = Drawing()
    turns, count = rng.uniform(2, 6), 90
    angle = np.linspace(0, 2 * np.pi * turns, count)
    wander = np.cumsum(rng.normal(0, 0.035, (count, 2)), axis=0)
    a, b = rng.uniform(35, 80), rng.uniform(22, 60)
    path = np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1)
    path = path * (1 + wander) + np.cumsum(rng.normal(0, 1.2, (count, 2)), axis=0)
    width = rng.uniform(3, 6)
    for start in range(0, count - 1, 15):
        piece = path[start : start + 16]
        d.stroke(piece, width, "pvc", thickness=width * 0.8)
        d.stroke(piece, width * 0.35, "copper", thickness=0.5)
    for end, step in ((path[0], path[1]), (path[-1], path[-2])):
        out = (end - step) / max(float(np.hypot(*(end - step))), 1e-6)
        tip = end + out * 20
        d.rod((end[0], end[1]), (tip[0], tip[1]), 7, "pvc", flatten=0.7)
        far = end + out * 34
        d.rod((tip[0], tip[1]), (far[0], far[1]), 3, "brass", flatten=0.5)
    return d


def charger(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    w, h = rng.uniform(25, 58), rng.uniform(18, 30)
    d.plate(box(-w, -h, w, h, 5), "abs", 6)
    d.plate(box(-w + 3, -h + 3, w - 3, h - 3), "circuit_board", 2)
    d.plate(box(-w * 0.3, -h * 0.6, w * 0.2, h * 0.6), "iron", rng.uniform(3, 9))
    d.plate(box(-w * 0.2, -h * 0.4, w * 0.1, h * 0.4), "copper", 4)
    for _ in range(int(rng.integers(3, 7))):
        x, y = rng.uniform(-w * 0.8, w * 0.7), rng.uniform(-h * 0.7, h * 0.7)
        d.rod((x, y), (x + rng.uniform(6, 15), y), rng.uniform(2, 5), "aluminium", hollow=0.3)
    for y in (-6.0, 6.0):
        d.rod((-w - 16, y), (-w, y), 2.2, "brass")
    return d


def board(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    """A camera, radio or console: case, board, chips, a lens or speaker, a cell."""
    d = Drawing()
    w, h = rng.uniform(45, 95), rng.uniform(32, 62)
    d.plate(box(-w, -h, w, h, 8), "abs", 5)
    d.stroke(box(-w, -h, w, h, 8), 3, "abs", thickness=20, closed=True)
    d.plate(box(-w * 0.9, -h * 0.85, w * 0.6, h * 0.8), "circuit_board", 2)
    for _ in range(int(rng.integers(6, 16))):
        x, y = rng.uniform(-w * 0.8, w * 0.4), rng.uniform(-h * 0.7, h * 0.5)
        d.plate(
            box(x, y, x + rng.uniform(4, 20), y + rng.uniform(3, 14)),
            str(rng.choice(["copper", "steel", "abs", "aluminium"])),
            0.8,
        )
    radius = h * rng.uniform(0.4, 0.7)
    d.ball((w * 0.4, 0), (radius, radius), 6, "glass")
    d.stroke(ellipse((w * 0.4, 0), (radius, radius)), 4, "aluminium", thickness=12, closed=True)
    d.plate(box(-w * 0.8, h * 0.1, -w * 0.2, h * 0.75, 2), "li_ion_cell", rng.uniform(4, 9))
    return d


def keys(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    d.stroke(ellipse((0, 0), (13, 13), count=24), 2.2, "steel", closed=True)
    for _ in range(int(rng.integers(2, 6))):
        a = rng.uniform(0, 2 * np.pi)
        ux, uy = float(np.cos(a)), float(np.sin(a))
        d.ball((ux * 24, uy * 24), (11, 11), 1.2, str(rng.choice(["brass", "zinc_alloy"])))
        d.stroke([(ux * 30, uy * 30), (ux * 60, uy * 60)], 7, "brass", thickness=2)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(-60, 60, 2)
        d.plate(ellipse((x, y), (11, 11), count=24), "brass", 1.9)
    return d


def toiletry(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    """A tube of cream, a bar of soap or a can of food."""
    d = Drawing()
    kind = rng.integers(0, 3)
    if kind == 0:
        w = rng.uniform(14, 24)
        d.plate(smooth([(-60, -w), (45, -w * 0.8), (45, w * 0.8), (-60, w)], 1), "water", w)
        d.plate(box(-66, -w, -56, w), "polyethylene", 3)
        d.rod((44, 0), (62, 0), w * 0.6, "polyethylene")
    elif kind == 1:
        d.ball((0, 0), (rng.uniform(32, 45), rng.uniform(22, 30)), 13, "food")
    else:
        r = rng.uniform(28, 42)
        d.rod((-r * 1.2, 0), (r * 1.2, 0), r, "steel", hollow=0.99)
        d.rod((-r * 1.2, 0), (r * 1.2, 0), r * 0.98, "food")
        for x in (-r * 1.2, r * 1.2):
            d.rod((x - 1, 0), (x + 1, 0), r * 1.02, "steel", hollow=0.9)
    return d


def fruit(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-50, 50, 2)
        r = rng.uniform(26, 40)
        d.ball((x, y), (r, r * rng.uniform(0.9, 1.1)), r * 0.8, "food")
        d.ball((x, y), (6, 9), 4, "wood")
    return d


def umbrella(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    half = rng.uniform(100, 140)
    d.plate(smooth(box(-half, -18, half * 0.6, 18), 1), "nylon", 6)
    d.rod((-half, 0), (half * 0.7, 0), 4.5, "steel", hollow=0.8)
    for y in np.linspace(-15, 15, 6):
        d.stroke([(-half, y * 0.4), (half * 0.5, y)], 2, "steel", thickness=1.0)
    d.rod((half * 0.6, 0), (half, 0), 14, "abs", hollow=0.4)
    return d


def pens(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    for index in range(int(rng.integers(2, 6))):
        y, x = index * 13.0 - 26, rng.uniform(-15, 15)
        d.rod((x - 65, y), (x + 60, y), 4.8, "abs", hollow=0.5)
        d.rod((x + 60, y), (x + 72, y), (4, 1), str(rng.choice(["brass", "abs"])))
        d.rod((x - 40, y), (x + 70, y), 1.2, "brass", hollow=0.6)
    return d


def belt(rng: np.random.Generator, field: NDArray[np.float32], size_mm: float) -> Drawing:
    d = Drawing()
    angle = np.linspace(0, 2 * np.pi * rng.uniform(1.2, 2.4), 60)
    radius = 42 + 4.5 * angle
    path = np.stack([radius * np.cos(angle), radius * 0.7 * np.sin(angle)], axis=1)
    for start in range(0, 59, 20):
        d.stroke(path[start : start + 21], 4, "leather", thickness=34)
    x, y = float(path[-1, 0]), float(path[-1, 1])
    d.stroke(box(x - 18, y - 14, x + 18, y + 14, 4), 4.5, "zinc_alloy", closed=True)
    d.stroke([(x - 18, y), (x + 18, y)], 3, "steel")
    return d
