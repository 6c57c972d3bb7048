"""The 30 fine-grained contraband categories of the paper's Table 7, names exactly as printed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_TABLE_7: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
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

CATEGORIES: Final[tuple[str, ...]] = tuple(name for _, names in _TABLE_7 for name in names)
SUPERCLASS: Final[Mapping[str, str]] = MappingProxyType(
    {name: superclass for superclass, names in _TABLE_7 for name in names}
)


class UnknownCategoryError(ValueError):
    """Raised by `category_id` for a name outside Table 7. Fix the name; letter case counts."""


def category_id(name: str) -> int:
    """The 1-based COCO id of a category: its position in Table 7."""
    if name not in SUPERCLASS:
        raise UnknownCategoryError(
            f"unknown category {name!r}: expected one of the 30 names of Table 7, "
            f"case-sensitive: {', '.join(CATEGORIES)}"
        )
    return CATEGORIES.index(name) + 1
