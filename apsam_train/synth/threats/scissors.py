"""Scissors: two crossing blades on a screw, with metal or plastic loops."""

import numpy as np

from ..shapes import Drawing, Points, ellipse


def metal_handle_scissors(rng: np.random.Generator) -> Drawing:
    return _scissors(rng, rng.uniform(75, 105), metal=True)


def plastic_handle_scissors(rng: np.random.Generator) -> Drawing:
    return _scissors(rng, rng.uniform(75, 115), metal=False)


def small_scissors(rng: np.random.Generator) -> Drawing:
    """Nail, embroidery or folding pairs: short blades, either kind of loop."""
    return _scissors(rng, rng.uniform(42, 68), metal=bool(rng.random() < 0.5))


def _scissors(rng: np.random.Generator, blade: float, *, metal: bool) -> Drawing:
    d = Drawing()
    opening = np.radians(rng.uniform(4, 26))
    steel = rng.uniform(1.8, 3.2) * (0.8 if blade < 70 else 1.0)
    loop = blade * rng.uniform(0.24, 0.31)
    plastic = str(rng.choice(["abs", "nylon", "pvc"]))
    for side in (-1.0, 1.0):
        _half(
            d, blade, loop * (1.0 if side < 0 else rng.uniform(1.0, 1.25)), steel, side, opening,
            metal, plastic,
        )  # fmt: skip
    d.ball((0, 0), (blade * 0.045, blade * 0.045), 4, "brass")
    return d


def _half(
    d: Drawing,
    blade: float,
    loop: float,
    steel: float,
    side: float,
    opening: float,
    metal: bool,
    plastic: str,
) -> None:
    width = blade * 0.13

    def turned(points: list[tuple[float, float]] | Points, angle: float) -> Points:
        c, s = np.cos(angle * side), np.sin(angle * side)
        flipped = np.asarray(points, dtype=np.float64) * (1.0, side)
        result: Points = flipped @ np.array([[c, s], [-s, c]])
        return result

    half = opening / 2
    edge = [(-blade * 0.12, -width * 0.55), (blade * 0.3, -width * 0.7), (blade, width * 0.1)]
    back = [(blade * 0.1, width * 0.35), (-blade * 0.12, width * 0.5)]
    d.plate(turned(edge + back, half), "steel", steel)
    reach = blade * 0.62
    offset = loop * 0.95
    shank = [(0.0, 0.0), (-reach * 0.4, width * 0.5), (-reach, offset * 0.75)]
    d.stroke(turned(shank, half), width * 0.85, "steel", thickness=steel)
    ring = ellipse((-reach - loop * 0.75, offset), (loop, loop * 0.68))
    if metal:
        d.stroke(turned(ring, half), loop * 0.28, "steel", thickness=steel * 1.5, closed=True)
        d.stroke(turned(ring, half), loop * 0.4, "aluminium", thickness=2.0, closed=True)
    else:
        d.stroke(turned(ring, half), loop * 0.46, plastic, thickness=11, closed=True)
        cuff = [(-reach * 0.35, width * 0.4), (-reach * 1.02, offset * 0.7)]
        d.stroke(turned(cuff, half), width * 1.7, plastic, thickness=10)
