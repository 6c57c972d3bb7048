"""Data sets that are one COCO file per split, and one folder of images for each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from apsam_train.data.coco_index import coco_entries
from apsam_train.data.entry import Entry
from apsam_train.data.files import images_by_stem, is_image
from apsam_train.data.layout import glimpse, mentions, split_of, subfolders
from apsam_train.data.problems import ProblemKind, ProblemLog

_NUM_FILES = 20
"""JSON files of a folder that are looked into: a folder of thousands has one for each image."""
_COCO = ('"images"', '"annotations"', '"categories"')


def coco_files(home: Path, *names: str) -> list[Path]:
    """The COCO files of `home` and `home/annotations` that have all these category names."""
    places = (home, home / "annotations")
    files = [f for folder in places for f in glimpse(folder, ".json")[:_NUM_FILES]]
    return [f for f in files if mentions(f, *_COCO, *(f'"{name}"' for name in names))]


def split_entries(files: Iterable[Path], *, home: Path, log: ProblemLog) -> list[Entry]:
    """The entries of COCO files named after their splits, with images in folders likewise named
    (`train`, `train2017`, `images/train`), in `images`, or in `home` itself."""
    entries = []
    for file in files:
        split = split_of(file.stem)
        find = finder(home, _image_folders(home, split))
        entries += coco_entries(file, find_image=find, log=log, split=split)
    count_unlisted(entries, log)
    return without_repeated(entries, log)


def finder(home: Path, folders: Sequence[Path]) -> Callable[[str], Path]:
    """file_name -> path: relative to `home`, or its last part in the first of `folders` that has
    it, or with another suffix: .jpg is often listed where .png lies."""
    by_stem: dict[str, Path] = {}
    for folder in reversed(folders):
        by_stem |= images_by_stem(folder)
    by_name = {image.name: image for image in by_stem.values()}

    def find(file_name: str) -> Path:
        path = PurePosixPath(file_name.replace("\\", "/"))
        named = len(path.parts) > 1 and ".." not in path.parts and not path.is_absolute()
        if named and (home / path).is_file():
            return home / path
        if path.name in by_name:
            return by_name[path.name]
        places = [folder / path.name for folder in folders]
        found = next((place for place in places if place.is_file()), None)
        return found or by_stem.get(path.stem) or places[0]

    return find


def count_unlisted(entries: Iterable[Entry], log: ProblemLog) -> None:
    """Count the images that lie beside listed ones and are listed nowhere."""
    listed: dict[Path, set[str]] = defaultdict(set)
    for entry in entries:
        listed[entry.image.parent].add(entry.image.name)
    for folder, names in sorted(listed.items()):
        for name in sorted(set(os.listdir(folder)) - names):
            if is_image(Path(name)) and not name.startswith("."):
                detail = "listed in no annotation file: left out"
                log.add(ProblemKind.MISSING_ANNOTATION, str(folder / name), detail)


def without_repeated(entries: Iterable[Entry], log: ProblemLog) -> list[Entry]:
    """The first entry of each name; image ids are unique in one file only, names are not even
    always that."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in found:
            log.add(ProblemKind.DUPLICATE_ID, entry.name, "this file name again: left out")
        found.setdefault(entry.name, entry)
    return list(found.values())


def _image_folders(home: Path, split: str) -> list[Path]:
    named = [f for place in (home, home / "images") for f in subfolders(place)]
    of_split = [folder for folder in named if split and split_of(folder.name) == split]
    of_images = [folder for folder in subfolders(home) if folder.name.startswith("image")]
    return [*of_split, *of_images, home]
