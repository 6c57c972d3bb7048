"""STCray: labelme JSON per image, one folder per class.

`STCray_TrainSet` and `STCray_TestSet` (or one of them) have `Images/Class XX_Name/NAME.jpg` and
`Json_BB/Class XX_Name/NAME.json`; rectangles are boxes, polygons outlines. Categories are the
labels of the shapes: in the folders of several threats there are several. Images of the folder
without threats have no JSON, and are bags without contraband; elsewhere such an image is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.entry import Entry, ReadShapes, given
from apsam_train.data.files import images_by_stem
from apsam_train.data.labelme_json import labelme_shapes
from apsam_train.data.layout import homes, split_of, subfolders
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sidecars import files_by_stem, pairs
from apsam_train.errors import DatasetError

TITLE = "STCray"
GENERIC = False
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "3D-printed Gun": "Gun",  # in shape, if not in material
    "3D Gun": "Gun",
    "Battery": "Batteries",
    # "Blade", "Cutter", "Shaving Razor", "Knife": none is certainly one of the thirty.
}
_SETS = ("STCray_TrainSet", "STCray_TestSet")
_NO_THREAT = re.compile(r"non[ _-]?threat", re.IGNORECASE)


def looks_like(root: Path) -> bool:
    """By the folders `Images` and `Json_BB`."""
    return bool(_parts(root))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image of every class folder."""
    parts = _parts(root)
    if not parts:
        raise DatasetError(
            f"{root} has no folder with Images and Json_BB, like {' or '.join(_SETS)}"
        )
    return [entry for part, split in parts for entry in _entries(part, split, log)]


def _parts(root: Path) -> list[tuple[Path, str]]:
    """(folder with Images and Json_BB, split): the root, a set in it, or a set in a set."""
    sets = [*homes(root), *(home / name for home in homes(root) for name in _SETS)]
    places = [home for folder in sets for home in homes(folder)]
    found = [p for p in places if (p / "Images").is_dir() and (p / "Json_BB").is_dir()]
    return [(place, split_of(place.name.rpartition("_")[2])) for place in dict.fromkeys(found)]


def _entries(part: Path, split: str, log: ProblemLog) -> list[Entry]:
    names = {f.name for kind in ("Images", "Json_BB") for f in subfolders(part / kind)}
    entries = []
    for name in sorted(names):
        images = images_by_stem(part / "Images" / name)
        files = files_by_stem(part / "Json_BB" / name, ".json")
        if _NO_THREAT.search(name):
            empty = [image for stem, image in images.items() if stem not in files]
            entries += [_entry(image, split, partial(given, ())) for image in empty]
            images = {stem: image for stem, image in images.items() if stem in files}
        found = pairs(images, files, log)
        entries += [_entry(i, split, partial(labelme_shapes, file, i)) for i, file in found]
    return entries


def _entry(image: Path, split: str, read_shapes: ReadShapes) -> Entry:
    name = "/".join(filter(None, (split, image.parent.name, image.name)))
    return Entry(name=name, image=image, read_shapes=read_shapes, split=split)
