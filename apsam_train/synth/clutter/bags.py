"""Bag shells: a hard suitcase, a backpack, a soft bag, an open tray."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from ..shapes import Drawing, Points, box, ellipse, smooth

# (rng, half width mm, half height mm) -> (shell, outline [K, 2] mm of what it can hold)
DrawBag: TypeAlias = Callable[[np.random.Generator, float, float], tuple[Drawing, Points]]


def suitcase(rng: np.random.Generator, w: float, h: float) -> tuple[Drawing, Points]:
    d = Drawing()
    shell = str(rng.choice(["abs", "polyethylene", "nylon"]))
    corner = rng.uniform(25, 55)
    outline = box(-w, -h, w, h, corner)
    d.plate(outline, shell, rng.uniform(1.2, 4.5))
    d.stroke(outline, rng.uniform(6, 11), shell, thickness=35, closed=True)
    d.stroke(outline * 0.975, 3.5, "pvc", thickness=14, closed=True)
    for scale in (0.955, 0.985):
        d.stroke(outline * scale, 1.4, "aluminium", thickness=rng.uniform(4, 10), closed=True)
    _rails(d, rng, w, h)
    for x in (-w * 0.8, w * 0.8):
        y = h + 14
        d.ball((x, y), (24, 15), 10, "rubber", hollow=0.5)
        d.ball((x, y), (9, 6), 8, "abs")
        d.rod((x - 10, y - 3), (x + 10, y + 3), 3, "steel")
        d.plate(box(x - 26, h - 14, x + 26, h + 2, 5), "abs", 12)
        _screws(d, rng, [(x + sx, h - sy) for sx in (-16, 0, 16) for sy in (4, 18)])
    arc = ellipse((0, -h), (rng.uniform(40, 70), 20), 180, 360, 16)
    d.stroke(arc, 11, "rubber", thickness=14)
    _zip_pull(d, rng, (-w * 0.98, -h * 0.9))
    return d, outline * 0.94


def _rails(d: Drawing, rng: np.random.Generator, w: float, h: float) -> None:
    half = w * rng.uniform(0.2, 0.34)
    bar = rng.uniform(9, 15)
    for x in (-half, half):
        d.plate(box(x - bar, -h * 0.92, x + bar, h * 0.95), "aluminium", rng.uniform(1.5, 5))
        d.plate(box(x - bar * 0.5, -h * 0.85, x + bar * 0.5, h * 0.5), "aluminium", 4)
        if rng.random() < 0.7:
            d.stroke([(x, -h * 0.7), (x, h * 0.5)], 2, "steel", thickness=3)
    d.plate(box(-half - 18, -h * 0.97, half + 18, -h * 0.86, 6), "abs", 14)
    spots = [(x + s, y) for x in (-half, half) for s in (-8, 8) for y in (-h * 0.8, h * 0.9)]
    _screws(d, rng, spots)


def _screws(d: Drawing, rng: np.random.Generator, spots: list[tuple[float, float]]) -> None:
    for x, y in spots:
        angle = rng.uniform(0, 2 * np.pi)
        dx, dy = 7 * np.cos(angle), 7 * np.sin(angle)
        d.ball((x, y), (3.4, 3.4), 2.5, "steel")
        d.rod((x, y), (x + dx, y + dy), 1.5, "steel")


def _zip_pull(d: Drawing, rng: np.random.Generator, at: tuple[float, float]) -> None:
    x, y = at
    d.plate(box(x - 6, y - 5, x + 6, y + 5, 2), "zinc_alloy", 3)
    angle = rng.uniform(-0.6, 0.6)
    tip = (x - 24 * np.cos(angle), y + 24 * np.sin(angle))
    d.stroke([(x, y), tip], 5, "zinc_alloy", thickness=1.6)


def backpack(rng: np.random.Generator, w: float, h: float) -> tuple[Drawing, Points]:
    d = Drawing()
    outline = _wobbly(rng, w, h, 0.05)
    d.plate(outline, "nylon", rng.uniform(1.5, 3))
    d.stroke(outline, rng.uniform(3, 6), "pvc", thickness=rng.uniform(3, 7), closed=True)
    pocket = smooth(box(-w * 0.7, h * 0.05, w * 0.7, h * 0.9), 2)
    d.plate(pocket, "nylon", 1.2)
    d.stroke(pocket, 3, "pvc", thickness=4, closed=True)
    _zipper(d, outline[: len(outline) // 2] * 0.93)
    for side in (-1.0, 1.0):
        strap = [(side * w * 0.25, -h), (side * w * 0.6, -h * 0.4), (side * w * 0.85, h * 0.3)]
        strap.append((side * w * rng.uniform(0.6, 1.1), h * rng.uniform(0.8, 1.1)))
        d.stroke(smooth(strap, 2, closed=False), 42, "polyethylene", thickness=7)
        x, y = strap[2]
        d.plate(
            box(x - 20, y - 10, x + 20, y + 10, 4),
            "nylon",
            7,
            holes=[box(x - 12, y - 4, x + 12, y + 4)],
        )
    _zip_pull(d, rng, (float(outline[0, 0] * 0.9), float(outline[0, 1] * 0.9)))
    return d, outline * 0.92


def soft_bag(rng: np.random.Generator, w: float, h: float) -> tuple[Drawing, Points]:
    """A duffel or handbag: seams, handles, a metal clasp."""
    d = Drawing()
    outline = _wobbly(rng, w, h, 0.09)
    skin = str(rng.choice(["nylon", "leather", "pvc"]))
    d.plate(outline, skin, {"nylon": 1.6, "leather": 3.5, "pvc": 0.9}[skin])
    for scale in (1.0, rng.uniform(0.9, 0.96), rng.uniform(0.75, 0.88)):
        seam = outline * (scale, scale * rng.uniform(0.92, 1.0))
        d.stroke(seam, rng.uniform(1.5, 4), "pvc", thickness=rng.uniform(2, 7), closed=True)
    for _ in range(2):
        arc = ellipse((rng.uniform(-0.1, 0.1) * w, -h * 0.9), (w * 0.4, h * 0.35), 190, 350, 20)
        d.stroke(arc, 12, skin, thickness=8)
    for x in (-w * 0.38, w * 0.38):
        d.stroke(ellipse((x, -h * 0.85), (9, 9), count=18), 3, "zinc_alloy", closed=True)
    _zipper(d, np.array([(-w * 0.8, -h * 0.7), (0, -h * 0.78), (w * 0.8, -h * 0.7)]))
    return d, outline * 0.93


def tray(rng: np.random.Generator, w: float, h: float) -> tuple[Drawing, Points]:
    d = Drawing()
    outline = box(-w, -h, w, h, 22)
    d.plate(outline, "polyethylene", rng.uniform(3, 5))
    d.stroke(outline, 10, "polyethylene", thickness=50, closed=True)
    d.stroke(outline * 0.95, 3, "polyethylene", thickness=30, closed=True)
    for x in np.linspace(-w * 0.8, w * 0.8, int(rng.integers(5, 9))):
        d.stroke([(x, -h * 0.9), (x, h * 0.9)], 3, "polyethylene", thickness=5)
    return d, outline * 0.9


def _wobbly(rng: np.random.Generator, w: float, h: float, amount: float) -> Points:
    base = smooth(box(-w, -h, w, h, min(w, h) * rng.uniform(0.3, 0.7)), 2)
    angle = np.arctan2(base[:, 1], base[:, 0])
    wave = np.zeros(len(base))
    for order in (2, 3, 5, 8):
        wave += rng.normal(0, amount / order**0.5) * np.cos(order * angle + rng.uniform(0, 6.3))
    outline: Points = base * (1 + np.clip(wave, -0.2, 0.06))[:, None]
    return outline


def _zipper(d: Drawing, path: Points) -> None:
    d.stroke(path, 6, "nylon", thickness=2)
    d.stroke(path, 2.6, "zinc_alloy", thickness=0.35)


BAGS: Final[Mapping[str, DrawBag]] = MappingProxyType(
    {"suitcase": suitcase, "backpack": backpack, "soft_bag": soft_bag, "tray": tray}
)
