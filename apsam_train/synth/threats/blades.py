"""Fruit knives and cleavers: a wedge of steel, a tang, a handle of metal or plastic."""

import numpy as np

from ..shapes import Drawing, box, smooth


def metal_handle_fruit_knife(rng: np.random.Generator) -> Drawing:
    return _fruit_knife(rng, metal=True)


def plastic_handle_fruit_knife(rng: np.random.Generator) -> Drawing:
    return _fruit_knife(rng, metal=False)


def metal_handle_cleaver(rng: np.random.Generator) -> Drawing:
    return _cleaver(rng, metal=True)


def plastic_handle_cleaver(rng: np.random.Generator) -> Drawing:
    return _cleaver(rng, metal=False)


def _fruit_knife(rng: np.random.Generator, *, metal: bool) -> Drawing:
    d = Drawing()
    blade, width = rng.uniform(85, 150), rng.uniform(16, 28)
    belly = rng.uniform(0.2, 0.5)
    half = width / 2
    outline = [
        (0, -half),
        (blade * 0.7, -half * rng.uniform(0.8, 1.0)),
        (blade, half * rng.uniform(-0.3, 0.6)),
        (blade * (1 - belly), half),
        (3, half),
    ]
    edge = rng.uniform(1.4, 2.6)
    d.plate(smooth(outline, 1), "steel", edge, ramp=(0, -half, 0, half, edge, 0.35))
    handle = rng.uniform(90, 120)
    grip = rng.uniform(9, 12)
    contour = smooth(
        [(4, -grip), (-handle, -grip * 1.05), (-handle - 6, 0), (-handle, grip), (4, grip * 0.9)], 1
    )
    if metal:
        d.plate(contour, "steel", rng.uniform(3.5, 6))
        d.rod((-handle, 0), (0, 0), grip * 0.8, "aluminium", flatten=0.7)
    else:
        d.plate(contour, str(rng.choice(["abs", "wood", "nylon"])), rng.uniform(15, 20))
        d.plate(box(-handle * rng.uniform(0.6, 0.95), -5, 2, 5), "steel", edge)
        for share in (0.25, 0.55, 0.85):
            if rng.random() < 0.8:
                d.ball((-handle * share, 0), (2.6, 2.6), 4, "brass", mode="replace")
    return d


def _cleaver(rng: np.random.Generator, *, metal: bool) -> Drawing:
    d = Drawing()
    blade, width = rng.uniform(150, 200), rng.uniform(70, 100)
    top, bottom = -width * 0.45, width * 0.55
    spine = rng.uniform(1.6, 3.2)
    outline = np.concatenate(
        [
            [(0, top), (blade, top + rng.uniform(-4, 6))],
            [(blade + rng.uniform(-3, 4), bottom - 12), (blade - 12, bottom)],
            [(0, bottom - rng.uniform(0, 6))],
        ]
    )
    hole = smooth(box(blade - 22, top + 8, blade - 12, top + 18), 2)
    holes = (hole,) if rng.random() < 0.5 else ()
    d.plate(outline, "steel", spine, holes=holes, ramp=(0, top, 0, bottom, spine, 0.6))
    handle, grip = rng.uniform(100, 125), rng.uniform(12, 15)
    y = top + grip
    contour = smooth(
        [(6, y - grip), (-handle, y - grip), (-handle - 8, y), (-handle, y + grip), (6, y + grip)],
        1,
    )
    if metal:
        d.rod((-handle, y), (8, y), grip, "steel", hollow=rng.uniform(0.80, 0.92))
        d.ball((-handle, y), (6, grip), grip, "steel", hollow=0.8)
        d.rod((-handle, y), (4, y), grip * 0.6, "aluminium", hollow=0.5)
    else:
        d.plate(contour, str(rng.choice(["abs", "wood", "nylon"])), rng.uniform(18, 25))
        d.plate(box(-handle * 0.9, y - 7, 4, y + 7), "steel", spine)
        for share in (0.2, 0.5, 0.8):
            d.ball((-handle * share, y), (3.2, 3.2), 4, "brass", mode="replace")
    return d
