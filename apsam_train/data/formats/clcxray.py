"""CLCXray: cutters and liquid containers, boxes in COCO form.

COCO files in `annotations` or at the top, one per split (`instances_train2017.json`, `train.json`)
or one for all, with images in folders named after the splits, in `images`, or beside the files. It
is recognised by its category names. The 16-bit raw images of a part are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apsam_train.data.coco_splits import coco_files, split_entries
from apsam_train.data.entry import Entry
from apsam_train.data.layout import homes
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError

TITLE = "CLCXray"
GENERIC = False
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "scissors": "Scissors",
    # Liquid containers, so taken as filled; cans, tins and cartons are no bottles: outside.
    "PlasticBottle": "PlasticbottleLiquid",
    "GlassBottle": "GlassbottleLiquid",
    "VacuumCup": "Suspicious Liquid",  # most are steel, not all
    "SprayCans": "Pressure",
    # "knife", "dagger", "blade", "SwissArmyKnife": none is certainly one of the thirty.
}
_ONLY_HERE = ("SwissArmyKnife", "VacuumCup")


def looks_like(root: Path) -> bool:
    """By COCO's category names."""
    return _home(root) is not None


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image of every file."""
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has no COCO file with the categories of CLCXray")
    return split_entries(coco_files(home, *_ONLY_HERE), home=home, log=log)


def _home(root: Path) -> Path | None:
    return next((home for home in homes(root) if coco_files(home, *_ONLY_HERE)), None)
