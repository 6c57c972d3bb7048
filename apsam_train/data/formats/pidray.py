"""PIDray, both releases. The archive often holds its folder twice (pidray/pidray).

v1: `annotations/xray_{train,test_easy,test_hard,test_hidden}.json` with `train`, `easy`, `hard` and
`hidden`. v2: `annotations/{train,test}.json` with `train` and `test`, beside `annotations` or in a
folder `PIDray` there; the parts of its test set are told by file names, `xray_easy...`.

Image ids restart at 0 in every file, so entries go by file name. The constant area of 1.0 is never
read. Images that are listed without objects (v2 has such) are bags without contraband.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from apsam_train.data.coco_index import coco_entries
from apsam_train.data.coco_splits import count_unlisted, finder, without_repeated
from apsam_train.data.entry import Entry
from apsam_train.data.layout import glimpse, homes
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError

TITLE = "PIDray"
GENERIC = False
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "Baton": "Batons",  # expandable or not is not annotated
    "Sprayer": "Pressure",  # aerosol cans: what the 30 call a pressure vessel
    "HandCuffs": "Handcuffs",
    # "Knife" stays outside: fruit knife or cleaver is not annotated.
}
_V1 = {
    "xray_train": ("train", "train"),
    "xray_test_easy": ("test/easy", "easy"),
    "xray_test_hard": ("test/hard", "hard"),
    "xray_test_hidden": ("test/hidden", "hidden"),
}
_V2 = ("train", "test")
_PART = re.compile(r"xray_(easy|hard|hidden)")


def looks_like(root: Path) -> bool:
    """v1 by its files of annotations, v2 by those and names of images."""
    return _home(root) is not None


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image of every file that is there."""
    home = _home(root)
    if home is None:
        raise DatasetError(
            f"{root} has neither annotations/xray_*.json (PIDray v1) nor annotations/train.json "
            "with images xray_* (v2)"
        )
    entries = []
    for name in [*_V1, *_V2]:
        file = home / "annotations" / f"{name}.json"
        if name in _V1 and file.is_file():
            split, folder = _V1[name]
            find = finder(home, [home / folder])
            entries += coco_entries(file, find_image=find, log=log, split=split)
        elif file.is_file():
            find = finder(home, _v2_folders(home, name))
            listed = coco_entries(file, find_image=find, log=log)
            entries += [_in_part(entry, name) for entry in listed]
    count_unlisted(entries, log)
    return without_repeated(entries, log)


def _home(root: Path) -> Path | None:
    for home in homes(root):
        files = {file.stem for file in glimpse(home / "annotations", ".json")}
        if files & _V1.keys():
            return home
        folders = [folder for name in _V2 if name in files for folder in _v2_folders(home, name)]
        seen = [image.name for folder in folders for image in glimpse(folder, ".png", ".jpg")]
        if any(name.startswith("xray_") for name in seen):
            return home
    return None


def _v2_folders(home: Path, name: str) -> list[Path]:
    return [home / name, home / "PIDray" / name, home / "pidray" / name]


def _in_part(entry: Entry, split: str) -> Entry:
    part = _PART.match(Path(entry.name).name) if split == "test" else None
    split = f"{split}/{part[1]}" if part else split
    return replace(entry, name=f"{split}/{entry.name}", split=split)
