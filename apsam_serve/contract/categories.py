"""The 30 categories of the paper's Table 7, and what the logits of a category head say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

TABLE_7: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Batteries", ("ColumnarBlockBattery", "MotorBattery")),
    ("Suspicious Liquid", ("PlasticbottleLiquid", "GlassbottleLiquid", "MetalbottleLiquid")),
    ("Fruitknife", ("MetalhandleFruitknife", "PlastichandleFruitknife")),
    ("Cleaver", ("MetalhandleCleaver", "PlastichandleCleaver")),
    # "Scissors" is both a superclass and, for pairs whose handle is unknown, a category.
    ("Scissors", ("MetalhandleScissors", "PlastichandleScissors", "Scissors")),
    ("Batons", ("ExpandableBatons", "Baton")),
    ("Electronic Devices", ("Powerbank", "Mobilephone", "Laptop")),
    ("Tools", ("Hammer", "Pliers", "Wrench", "Screwdriver")),
    ("Firearms", ("Gun", "Bullet")),
    (
        "Others",
        ("Pressure", "Handcuffs", "Lighter", "Fireworks", "Dart", "Razorblade", "Sawblade"),
    ),
)
"""(superclass, its categories), names exactly as printed; a category's id is its place, from 1."""
CATEGORIES: Final[tuple[str, ...]] = tuple(name for _, names in TABLE_7 for name in names)
SUPERCLASS: Final[Mapping[str, str]] = MappingProxyType(
    {name: superclass for superclass, names in TABLE_7 for name in names}
)


def best_category(logits: NDArray[np.float32], names: Sequence[str]) -> tuple[str | None, float]:
    """The most probable class of logits float32 [1 + len(names)] and its probability in (0, 1].

    Class 0, no contraband, is None; class i is names[i - 1].
    """
    assert len(logits) == 1 + len(names), (len(logits), len(names))
    weights = np.exp(logits.astype(np.float64) - logits.max())
    best = int(weights.argmax())
    return (names[best - 1] if best else None), float(weights[best] / weights.sum())
