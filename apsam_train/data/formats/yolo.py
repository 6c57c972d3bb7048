"""YOLO: images/ and labels/, undivided, or divided either way round (images/train beside
labels/train, or train/images beside train/labels). Names come from data.yaml, dataset.yaml or
classes.txt; without any, class 12 is "class 12"."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.entry import Entry
from apsam_train.data.files import subfolder
from apsam_train.data.problems import ProblemLog
from apsam_train.data.yaml_names import class_names
from apsam_train.data.yolo_text import has_labels, yolo_entries
from apsam_train.errors import DatasetError

TITLE = "YOLO boxes and outlines"
GENERIC = True
CATEGORIES_IN_XSEG: Mapping[str, str] = {}

_NAME_FILES = ("data.yaml", "dataset.yaml", "data.yml", "classes.txt", "labels/classes.txt")
_SPLITS = ("train", "val", "valid", "test")


def looks_like(root: Path) -> bool:
    """Folders images and labels beside each other, the latter with text files."""
    return any(has_labels(home / "labels") for home in _homes(root))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image, also one without label file."""
    homes = _homes(root)
    if not homes:
        raise DatasetError(f"{root} has no folders images and labels, with or without splits")
    divided = len(homes) > 1 or homes[0].name in _SPLITS
    top = homes[0].parent if divided else homes[0]
    names = class_names(place / name for place in (top, homes[0]) for name in _NAME_FILES)
    entries = []
    for home in homes:
        entries += yolo_entries(
            home / "images",
            home / "labels",
            root=top,
            split_of=partial(_split, home.name if divided else ""),
            names=names,
            log=log,
        )
    return entries


def _homes(root: Path) -> list[Path]:
    """The folders that hold images and labels: one, or one for each split."""
    if not root.is_dir():
        return []
    images = subfolder(root, "images")
    if images is not None and (images.parent / "labels").is_dir():
        return [images.parent]
    found = [f.parent for depth in ("*", "*/*") for f in root.glob(f"{depth}/images")]
    return sorted(home for home in found if (home / "labels").is_dir())


def _split(split: str, place: Path) -> str:
    return split or (place.parts[0] if len(place.parts) > 1 else "")
