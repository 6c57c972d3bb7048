"""PIXray, in its own form or as COCO.

Its own: NAME.json beside NAME.png, with `objects`, each a `label` and a `polygon` of points x, y.
The split is that of the folder's name: `train_set` is "train". COCO: one file per split, beside the
images or in `annotations` (`pixray_train.json`, `train.json`), images in `train` and `test`.

The published lists number the categories in different orders, one of them alphabetical; names come
from the file's own list, whatever its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.coco_splits import coco_files, split_entries
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import images_by_stem, read_json
from apsam_train.data.layout import glimpse, homes, mentions, split_of, subfolders
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.sidecars import files_by_stem, pairs
from apsam_train.errors import DatasetError

TITLE = "PIXray"
GENERIC = False
CATEGORIES_IN_XSEG: Mapping[str, str] = {
    "Battery": "Batteries",
    "Bat": "Batons",  # telescopic ones are among them
    "Razor_blade": "Razorblade",
    "Saw_blade": "Sawblade",
    "Pressure_vessel": "Pressure",
    # "Knife" stays outside: fruit knife or cleaver is not annotated.
}
_ONLY_HERE = ("Pressure_vessel", "Razor_blade")
"""Categories of no other data set that comes as COCO."""


def looks_like(root: Path) -> bool:
    """By the head of an annotation file beside its image, or by COCO's category names."""
    return _has_own_form(root) or _coco_home(root) is not None


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image with an annotation."""
    home = _coco_home(root)
    if home is not None:
        return split_entries(coco_files(home, *_ONLY_HERE), home=home, log=log)
    if not _has_own_form(root):
        raise DatasetError(f"{root} has neither NAME.json beside NAME.png nor COCO files of PIXray")
    entries = []
    for folder in _folders(root):
        split = "" if folder == root else split_of(folder.name)
        found = pairs(images_by_stem(folder), files_by_stem(folder, ".json"), log)
        for image, file in found:
            entries.append(
                Entry(
                    name=image.relative_to(root).as_posix(),
                    image=image,
                    read_shapes=partial(_shapes, file),
                    split=split,
                )
            )
    return entries


def _coco_home(root: Path) -> Path | None:
    return next((home for home in homes(root) if coco_files(home, *_ONLY_HERE)), None)


def _folders(root: Path) -> list[Path]:
    places = [folder for home in homes(root) for folder in (home, *subfolders(home))]
    return list(dict.fromkeys(places))


def _has_own_form(root: Path) -> bool:
    """By a few files of each folder, because one may be damaged."""
    for folder in _folders(root):
        beside = {image.stem for image in glimpse(folder, ".png", ".jpg")}
        files = [file for file in glimpse(folder, ".json") if file.stem in beside]
        if any(mentions(f, '"objects"') and not mentions(f, '"shapes"') for f in files[:3]):
            return True
    return False


def _shapes(file: Path, report: Report) -> list[Shape]:
    document = read_json(file)
    objects = document.get("objects") if isinstance(document, dict) else None
    if not isinstance(objects, list):
        raise DatasetError(f"{file} has no list 'objects'; every file of PIXray has one")
    shapes = []
    for number, item in enumerate(objects):
        try:
            outline = [float(value) for x, y in item["polygon"] for value in (x, y)]
            shapes.append(Shape(category=str(item["label"]), segmentation=[outline]))
        except (KeyError, TypeError, ValueError) as error:
            report(ProblemKind.BAD_ANNOTATION, f"{file.name}, object {number}: {error!r}")
    return shapes
