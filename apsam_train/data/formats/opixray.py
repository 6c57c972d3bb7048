"""OPIXray: knives and scissors in boxes, the test images sorted by how much hides them.

Splits: train, and test/1 (slight or no occlusion), test/2 (partial), test/3 (severe), as the files
test_knife-1.txt to -3.txt list them; plain test without these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apsam_train.data.box_text import box_text_entries, has_layout
from apsam_train.data.entry import Entry
from apsam_train.data.problems import ProblemLog

TITLE = "OPIXray"
GENERIC = False
CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
# Its knives are told apart by mechanism, those of Table 7 by use and handle: outside the thirty.
CATEGORIES_IN_XSEG: Mapping[str, str] = {"Scissor": "Scissors"}


def looks_like(root: Path) -> bool:
    """OPIXray's folders, with its lists or its classes."""
    return has_layout(root, lists="knife", classes=CLASSES)


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image that has an annotation."""
    return box_text_entries(root, lists="knife", classes=CLASSES, log=log)
