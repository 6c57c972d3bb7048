"""Bottles with liquid: plastic, glass, metal."""

import numpy as np

from ..shapes import Drawing


def plastic_bottle(rng: np.random.Generator) -> Drawing:
    return _bottle(rng, "pet", 0.97, "polyethylene")


def glass_bottle(rng: np.random.Generator) -> Drawing:
    return _bottle(rng, "glass", float(rng.uniform(0.88, 0.93)), "steel")


def metal_bottle(rng: np.random.Generator) -> Drawing:
    wall = "steel" if rng.random() < 0.6 else "aluminium"
    hollow = rng.uniform(0.97, 0.98) if wall == "steel" else rng.uniform(0.93, 0.96)
    return _bottle(rng, wall, float(hollow), "abs")


def _bottle(rng: np.random.Generator, wall: str, hollow: float, cap: str) -> Drawing:
    d = Drawing()
    radius, body = rng.uniform(24, 38), rng.uniform(105, 165)
    neck = radius * rng.uniform(0.32, 0.45) * (1.5 if wall in ("steel", "aluminium") else 1.0)
    shoulder = rng.uniform(18, 40)
    throat = rng.uniform(14, 45) if wall == "glass" else rng.uniform(8, 16)
    half = (body + shoulder + throat) / 2
    x1, x2, x3 = -half + body, -half + body + shoulder, half
    liquid = str(rng.choice(["water", "water", "ethanol", "petrol"]))
    fill = rng.uniform(0.45, 1.0)
    # A lying bottle's level is a chord: the beam sees less liquid over its whole width.
    level = 0.55 + 0.45 * fill
    inner = radius * hollow
    d.rod((-half, 0), (x1, 0), radius, wall, hollow=hollow)
    d.rod((-half, 0), (-half + radius * (1 - hollow) + 0.6, 0), radius, wall)
    d.rod((x1, 0), (x2, 0), (radius, neck), wall, hollow=hollow)
    d.rod((x2, 0), (x3, 0), neck, wall, hollow=min(hollow, 0.9))
    top = x1 if fill > 0.6 else -half + body * fill * 1.4
    d.rod((-half + 2, 0), (top, 0), inner, liquid, flatten=level)
    if fill > 0.6:
        d.rod((x1, 0), (x2, 0), (inner, neck * hollow), liquid, flatten=level)
    cap_length = rng.uniform(11, 20)
    thickness = 0.93 if cap == "steel" else 0.75
    d.rod((x3 - cap_length + 4, 0), (x3 + 4, 0), neck * 1.2, cap, hollow=thickness)
    d.rod((x3 + 2, 0), (x3 + 4, 0), neck * 1.2, cap if cap != "steel" else "aluminium")
    if wall == "pet":
        for share in np.linspace(0.2, 0.8, 4):
            x = -half + body * share
            d.rod((x, 0), (x + 2.5, 0), radius, "pet", hollow=0.93)
    return d
