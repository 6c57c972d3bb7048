"""MOLIT / CUBOX: bags from up to nine sides, boxes in YOLO's form in data/{images,labels}/ with
splits train, val, test; names in configs/config.yaml. An image is called SCANNER_DATE_SCAN_..._VIEW
and all views of a scan are one bag. Class 0, 'None', stands for no object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from apsam_train.data.entry import Entry
from apsam_train.data.layout import glimpse, homes
from apsam_train.data.problems import ProblemLog
from apsam_train.data.yaml_names import class_names
from apsam_train.data.yolo_text import yolo_entries
from apsam_train.errors import DatasetError

TITLE = "MOLIT / CUBOX"
GENERIC = False
# Doubtful, so outside the thirty: its knives, ax and saws (neither by handle nor by use), torch,
# and liquids in paper, vinyl and tubes (Table 7 knows plastic, glass and metal bottles).
# Doubtful, but named: Baton, which includes folding ones.
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "Baton": "Batons",
    "Scissors-A": "Scissors",
    "Handscuffs": "Handcuffs",
    "Monkey wrench": "Wrench",
    "Pipe wrench": "Wrench",
    "Vise plier": "Pliers",
    "Firecracker": "Fireworks",
    "LAGs product": "Suspicious Liquid",
    "LAGs product(Plastic-A)": "PlasticbottleLiquid",
    "LAGs product(Plastic-B)": "PlasticbottleLiquid",
    "LAGs product(Plastic-C)": "PlasticbottleLiquid",
    "LAGs product(Plastic-D)": "PlasticbottleLiquid",
    "LAGs product(Glass)": "GlassbottleLiquid",
    "LAGs product(Stainless)": "MetalbottleLiquid",
    "LAGs product(Aluminum)": "MetalbottleLiquid",
}

_PARTS = ("train", "val", "test")
_NAME_FILES = ("configs/config.yaml", "config.yaml", "data.yaml", "classes.txt")
_IMAGE_NAME = re.compile(r"(?P<scan>[A-Z0-9]+_\d{8}_\d+_.*)_(?P<view>[1-9])")


def looks_like(root: Path) -> bool:
    """The folders of YOLO's form with an image named as above."""
    home = _home(root)
    return home is not None and any(_has_scans(home / "images" / part) for part in _PARTS)


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image; bag: the scan."""
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has no folders data/images and data/labels")
    names = class_names(place / name for place in (home, home.parent) for name in _NAME_FILES)
    return yolo_entries(
        home / "images",
        home / "labels",
        root=home,
        split_of=lambda place: place.parts[0] if len(place.parts) > 1 else "",
        names=names,
        log=log,
        bag_of=_bag,
        nothing="None" if names else "class 0",
    )


def _home(root: Path) -> Path | None:
    places = [place for home in homes(root) for place in (home / "data", home)]
    return next((p for p in places if (p / "images").is_dir() and (p / "labels").is_dir()), None)


def _has_scans(folder: Path) -> bool:
    return any(_IMAGE_NAME.fullmatch(image.stem) for image in glimpse(folder, ".png"))


def _bag(stem: str) -> str:
    found = _IMAGE_NAME.fullmatch(stem)
    return found["scan"] if found else ""
