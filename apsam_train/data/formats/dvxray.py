"""DvXray: every bag from two sides, ID_OL.png and ID_SD.png, with one ID.json for both. No split of
its own, unless a folder `split` beside the data holds the train.txt and test.txt of its authors'
script.

A record's box is looked for under every key that names the view ("OL", "bbox_ol", "ol_bb", or "ol"
inside "bbox"), in any letter case; its four numbers are taken for the corners x1 y1 x2 y2. A view
that the record does not mention, or mentions with nothing, does not show the object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from apsam_serve.contract.prompts import Box
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import images_by_stem, read_json
from apsam_train.data.layout import glimpse, homes
from apsam_train.data.name_lists import listed_stems
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.sidecars import files_by_stem
from apsam_train.errors import DatasetError

TITLE = "DvXray"
GENERIC = False
# Doubtful, so outside the thirty: Knife (fruit knife or cleaver).
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "Battery": "Batteries",
    "Bat": "Baton",  # a bat does not expand
    "Razor_blade": "Razorblade",
    "Saw_blade": "Sawblade",
    "Pressure_vessel": "Pressure",
}

_VIEWS = ("OL", "SD")
_NOTHING: tuple[object, ...] = (None, "None", "", [], {}, "difficult")
"""What stands where a view shows no object, or one too hard to box."""


def looks_like(root: Path) -> bool:
    """Images named ID_OL or ID_SD, in the folder or in its folder DvXray."""
    return _home(root) is not None


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every view that has its bag's annotation. bag: the ID."""
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has no images named ID_OL.png and ID_SD.png")
    images = images_by_stem(home)
    annotations = files_by_stem(home, ".json")
    views = {f"{bag}_{view}" for bag in annotations for view in _VIEWS}
    for stem in sorted(views - set(images)):
        log.add(ProblemKind.MISSING_IMAGE, stem, f"of the bag {stem[:-3]}.json, not there")
    splits = _splits(home)
    entries = []
    for stem, image in images.items():
        bag, _, view = stem.rpartition("_")
        if view not in _VIEWS:
            continue
        if bag not in annotations:
            log.add(ProblemKind.MISSING_ANNOTATION, image.name, f"no {bag}.json: left out")
            continue
        entries.append(
            Entry(
                name=image.name,
                image=image,
                read_shapes=partial(_shapes, annotations[bag], view.lower()),
                split=splits.get(bag, ""),
                bag=bag,
            )
        )
    return entries


def _home(root: Path) -> Path | None:
    places = [*homes(root), root / "DvXray"]
    return next((place for place in places if _has_views(place)), None)


def _has_views(folder: Path) -> bool:
    return any(file.stem.endswith(("_OL", "_SD")) for file in glimpse(folder, ".png"))


def _splits(home: Path) -> dict[str, str]:
    places = (home / "split", home.parent / "split")
    return {
        stem: name
        for name in ("test", "train")
        for place in places
        for stem in listed_stems(place / f"{name}.txt")
    }


def _shapes(file: Path, view: str, report: Report) -> list[Shape]:
    document = read_json(file)
    if not isinstance(document, dict) or "objects" not in document:
        raise DatasetError(f'{file.name} has no "objects"')
    objects = document["objects"]
    if objects in _NOTHING:
        return []
    if not isinstance(objects, list):
        raise DatasetError(f'{file.name}: "objects" is {objects!r}, not a list or "None"')
    shapes = []
    for number, record in enumerate(objects, start=1):
        label = record.get("label") if isinstance(record, dict) else None
        found = list(_boxes(record))
        mine = [value for key, value in found if _names(key, view)]
        if label is None or not any(_names(key, v.lower()) for key, _ in found for v in _VIEWS):
            detail = f"object {number} lacks a label, or a box of either view: {record}"
            report(ProblemKind.BAD_ANNOTATION, detail)
        for value in mine if label is not None else ():
            if value in _NOTHING:
                continue
            try:
                left, top, right, bottom = (float(corner) for corner in value)
            except (TypeError, ValueError):
                detail = f"object {number} ({label}): {value!r} is no box of four numbers"
                report(ProblemKind.BAD_ANNOTATION, detail)
                continue
            box = Box(left=left, top=top, right=right, bottom=bottom)
            shapes.append(Shape(category=str(label), box=box))
    return shapes


def _boxes(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path of keys, value) of everything that could be a box."""
    if not isinstance(record, dict):
        return
    for key, value in record.items():
        where = f"{path}/{key}"
        if isinstance(value, dict) and value:
            yield from _boxes(value, where)
        elif key != "label":
            yield where, value


def _names(path: str, view: str) -> bool:
    """Whether a path of keys speaks of a view: "/bbox_ol", "/OL/bbox", not "/polygon"."""
    return re.search(rf"(^|[^a-z]){view}|{view}([^a-z]|$)", path.lower()) is not None
