"""LDXray: two views of every bag, boxes in COCO form.

A folder `dual-view` (or what is in it) has `train.json` and `test.json`, beside the images or in
`annotations`, and one folder per split and view: `train_A`, `test_A`, and the same with another
letter. Which views a file lists differs: file names may state their folder, or the JSON's own name
may end in the letter; without either the first view is meant. Views that no file lists are left
out. Views of one bag have the same file name, but for a letter at its end, and share its split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from apsam_train.data.coco_index import coco_entries
from apsam_train.data.coco_splits import count_unlisted, finder, without_repeated
from apsam_train.data.entry import Entry
from apsam_train.data.layout import glimpse, homes, split_of, subfolders
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError

TITLE = "LDXray"
GENERIC = False
_LIQUID, _CHARGER = "Suspicious Liquid", "Powerbank"
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    **dict.fromkeys(("OL", "GL", "BL", "CO", "CG"), _LIQUID),
    **dict.fromkeys(("Orange_Liquid", "Green_Liquid", "Blue_Liquid"), _LIQUID),
    **dict.fromkeys(("Cylindrical_Orange_Liquid", "Cylindrical_Green_Liquid"), _LIQUID),
    # Portable chargers 1 and 2: without and with cylindrical cells.
    **dict.fromkeys(("PC1", "PC2", "Charger_Without_Cell", "Charger_With_Cell"), _CHARGER),
    **dict.fromkeys(("MP", "Mobile_Phone"), "Mobilephone"),
    **dict.fromkeys(("LA", "Laptop"), "Laptop"),
    **dict.fromkeys(("NL", "Nonmetallic_Lighter"), "Lighter"),
    # Tablet (TA) and umbrella (UM) are none of the thirty.
}
_VIEW_FOLDER = re.compile(r"(train|val|test)_([A-Z])")
_VIEW_AT_END = re.compile(r"_([A-Z])$")


def looks_like(root: Path) -> bool:
    """By the folders of views."""
    return _home(root) is not None


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every listed view."""
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has no train.json or test.json with a folder like train_A")
    entries: list[Entry] = []
    for file in _files(home):
        split, view = split_of(file.stem), _VIEW_AT_END.search(file.stem)
        folders = [f for f in _view_folders(home) if f.name.startswith(split)]
        if view:
            folders = [f for f in folders if f.name.endswith(view[0])]
        find = _finder(home, folders or [home])
        listed = coco_entries(file, find_image=find, log=log)
        entries += [_of_bag(entry, split, home) for entry in listed]
    count_unlisted(entries, log)
    return without_repeated(entries, log)


def _home(root: Path) -> Path | None:
    places = [place for home in homes(root) for place in (home, home / "dual-view")]
    return next((place for place in places if _view_folders(place) and _files(place)), None)


def _view_folders(home: Path) -> list[Path]:
    return [folder for folder in subfolders(home) if _VIEW_FOLDER.fullmatch(folder.name)]


def _files(home: Path) -> list[Path]:
    found = [f for folder in (home, home / "annotations") for f in glimpse(folder, ".json")]
    return [file for file in found if split_of(file.stem)]


def _finder(home: Path, folders: list[Path]) -> Callable[[str], Path]:
    """Looks in one folder only, the one that is named or the first: the other has a namesake."""
    by_folder = {folder.name: finder(home, [folder]) for folder in folders}
    first = by_folder[folders[0].name]
    return lambda name: by_folder.get(PureWindowsPath(name).parent.name, first)(name)


def _of_bag(entry: Entry, split: str, home: Path) -> Entry:
    name = entry.image.relative_to(home).as_posix()
    bag = f"{split}/{_VIEW_AT_END.sub('', entry.image.stem)}"
    return replace(entry, name=name, split=split, bag=bag)
