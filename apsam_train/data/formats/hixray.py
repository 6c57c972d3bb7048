"""HiXray: everyday things in boxes, in OPIXray's layout. Splits: train, test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apsam_train.data.box_text import box_text_entries, has_layout
from apsam_train.data.entry import Entry
from apsam_train.data.problems import ProblemLog

TITLE = "HiXray"
GENERIC = False
CLASSES = (
    "Portable_Charger_1",
    "Portable_Charger_2",
    "Water",
    "Laptop",
    "Mobile_Phone",
    "Tablet",
    "Cosmetic",
    "Nonmetallic_Lighter",
)
# Doubtful, so outside the thirty: Cosmetic (a liquid or not), Tablet (no device of Table 7).
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "Portable_Charger_1": "Powerbank",
    "Portable_Charger_2": "Powerbank",
    "Water": "Suspicious Liquid",
    "Mobile_Phone": "Mobilephone",
    "Nonmetallic_Lighter": "Lighter",
}


def looks_like(root: Path) -> bool:
    """OPIXray's folders, with HiXray's lists or classes."""
    return has_layout(root, lists="name", classes=CLASSES)


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image that has an annotation."""
    return box_text_entries(root, lists="name", classes=CLASSES, log=log)
