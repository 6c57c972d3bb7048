"""ExpandableBatons (steel tubes in each other) and Baton (wood, rubber or aluminium)."""

import numpy as np

from ..shapes import Drawing


def expandable_baton(rng: np.random.Generator) -> Drawing:
    """Folded (all three tubes over each other) or drawn out."""
    d = Drawing()
    handle, radius = rng.uniform(160, 210), rng.uniform(11, 14)
    drawn = rng.random() < 0.55
    d.rod((-handle, 0), (0, 0), radius, "steel", hollow=0.82)
    grip = str(rng.choice(["rubber", "nylon"]))
    d.rod((-handle + 6, 0), (-handle * 0.22, 0), radius + 3, grip, hollow=0.8)
    d.rod((-handle - 7, 0), (-handle, 0), radius + 3, "steel")
    shift = handle * rng.uniform(0.7, 0.9) if drawn else 8.0
    inner = -handle + 10 + shift
    d.rod((inner, 0), (inner + handle * 0.92, 0), radius * 0.76, "steel", hollow=0.8)
    last = inner + (handle * rng.uniform(0.6, 0.8) if drawn else 8.0)
    end = last + handle * 0.86
    d.rod((last, 0), (end, 0), radius * 0.54, "steel", hollow=0.55)
    d.rod((end - 4, 0), (end + 9, 0), radius * 0.75, "steel")
    return d


def baton(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    length, thick = rng.uniform(300, 420), rng.uniform(16, 27)
    half = length / 2
    kind = str(rng.choice(["aluminium", "wood", "rubber"]))
    hollow = 0.84 if kind == "aluminium" else 0.0
    if kind == "rubber":
        d.rod((-half, 0), (half, 0), thick * 0.7, "rubber")
        d.rod((-half * 0.9, 0), (half * 0.9, 0), 4, "steel")
        d.ball((half, 0), (thick * 0.6, thick * 0.7), thick * 0.7, "rubber")
        d.rod((-half + 90, 0), (-half + 98, 0), thick, "rubber")
    else:
        d.rod((-half * 0.1, 0), (half, 0), (thick * 0.75, thick), kind, hollow=hollow)
        d.rod((-half, 0), (-half * 0.1, 0), (thick * 0.45, thick * 0.75), kind, hollow=hollow)
        d.ball((half, 0), (9, thick), thick, "rubber")
        d.rod(
            (-half * 0.98, 0),
            (-half * 0.35, 0),
            (thick * 0.52, thick * 0.68),
            "rubber",
            hollow=0.86,
        )
    d.rod((-half - 7, 0), (-half, 0), thick * 0.75, "rubber" if kind == "aluminium" else kind)
    return d
