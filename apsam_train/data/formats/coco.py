"""Plain COCO instances: `DIR/annotations.json` (as `apsam-train synth` and `curate` write it),
`DIR/annotations/*.json` with one file per split, or any COCO file. Image names are relative to the
file's folder, or lie in a folder `images` or one of the split's name beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.coco_index import coco_entries, is_coco
from apsam_train.data.entry import Entry
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError

TITLE = "COCO instances"
GENERIC = True
CATEGORIES_IN_XSEG: Mapping[str, str] = {}


def looks_like(root: Path) -> bool:
    """A COCO file, or a folder with one of its usual names."""
    files = _files(root)
    return bool(files) and is_coco(files[0])


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image of every file."""
    files = _files(root)
    if not files:
        raise DatasetError(f"{root} has neither annotations.json nor annotations/*.json")
    entries = []
    for file in files:
        split = "" if len(files) == 1 else _split(file)
        entries += coco_entries(
            file, find_image=partial(_find, file, _split(file)), log=log, split=split
        )
    return entries


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".json" else []
    if (root / "annotations.json").is_file():
        return [root / "annotations.json"]
    return sorted(f for f in root.glob("annotations/*.json") if not f.name.startswith("."))


def _split(file: Path) -> str:
    """instances_val2017.json -> val2017."""
    return file.stem.removeprefix("instances_")


def _find(file: Path, split: str, name: str) -> Path:
    roots = (file.parent, file.parent / "images", file.parent.parent, file.parent.parent / "images")
    places = [place / name for root in roots for place in (root, root / split)]
    return next((place for place in places if place.is_file()), places[0])
