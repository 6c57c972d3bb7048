"""The 30 categories of the paper's Table 7 (`apsam_serve.contract.categories`), and labels that say
as much of an object's category as is known.

A class is what the category head tells apart: 0 is no contraband, 1 to 30 are `CATEGORIES`. A label
is a class, or 31 to 40 where only one of `SUPERCLASSES` is known, or `UNKNOWN`.
"""

from __future__ import annotations

from typing import Final

from apsam_serve.contract.categories import CATEGORIES as CATEGORIES
from apsam_serve.contract.categories import SUPERCLASS as SUPERCLASS
from apsam_serve.contract.categories import TABLE_7

SUPERCLASSES: Final[tuple[str, ...]] = tuple(superclass for superclass, _ in TABLE_7)

CLASSES: Final[tuple[str, ...]] = ("none", *CATEGORIES)
LABELS: Final[tuple[str, ...]] = (*CLASSES, *SUPERCLASSES)
"""Names of the labels 0 to 40; "Scissors" is there twice, as category and as superclass."""
UNKNOWN: Final = -1
MEMBERSHIP: Final[tuple[tuple[bool, ...], ...]] = tuple(
    tuple(SUPERCLASS.get(name) == superclass for name in CLASSES) for superclass in SUPERCLASSES
)
"""[10][31]: whether a superclass (row) has a class (column)."""


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


def label_of(name: str) -> int:
    """The label of a data set's name: 1 to 30, 31 to 40, or `UNKNOWN` for a name outside Table 7.

    "Scissors" is both a category and a superclass; the category says more.
    """
    if name in SUPERCLASS:
        return category_id(name)
    return len(CLASSES) + SUPERCLASSES.index(name) if name in SUPERCLASSES else UNKNOWN


def superclass_label(label: int) -> int:
    """What a label says of the superclass alone: 31 to 40; none (0) and `UNKNOWN` say the same."""
    if not 0 < label < len(CLASSES):
        return label
    return len(CLASSES) + SUPERCLASSES.index(SUPERCLASS[CLASSES[label]])
