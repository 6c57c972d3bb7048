"""SIXray: a million images, 8,929 of them (P*.jpg) with boxes; all others (N*.jpg) show nothing
forbidden and have no annotation file.

The nested sets SIXray10, 100 and 1000 divide the same images differently, so an image's split is
that of one set: of the largest in ImageSet/, or of the one whose folder is given as the data set
(SIXRAY/ImageSet/10), in which case its images alone are read. Splits: 10/train, 10/test, ...; ""
for an image that the set does not list.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_train.data.entry import Entry, ReadShapes, given
from apsam_train.data.files import IMAGE_SUFFIXES, subfolder
from apsam_train.data.name_lists import stem_of
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.voc_xml import voc_shapes
from apsam_train.errors import DatasetError

TITLE = "SIXray"
GENERIC = False
CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
DROPPED = ("Hammer",)
"""Announced as a sixth class, but too rare: no list and no published result counts it."""
# Doubtful, so outside the thirty: Knife (fruit knife or cleaver). The other names are Table 7's.
CATEGORIES_IN_XSEG: Mapping[str, str] = {}

_NOTHING: ReadShapes = partial(given, ())


def looks_like(root: Path) -> bool:
    """A folder JPEGImage beside Annotation or ImageSet, or one of the sets in ImageSet."""
    home, _ = _home(root)
    return home is not None and any((home / n).is_dir() for n in ("Annotation", "ImageSet"))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image but positives whose annotation is missing."""
    home, chosen = _home(root)
    if home is None:
        raise DatasetError(f"{root} has no folder JPEGImage, and is no set of an ImageSet folder")
    folder, annotations = home / "JPEGImage", home / "Annotation"
    images = {n.rpartition(".")[0]: n for n in _names(folder, IMAGE_SUFFIXES)}
    annotated = {n.rpartition(".")[0] for n in _names(annotations, (".xml",))}
    splits = _splits(chosen or _largest_set(home), log)
    for stem in sorted((set(splits) if chosen else annotated | set(splits)) - set(images)):
        log.add(ProblemKind.MISSING_IMAGE, stem, "annotated or listed, not in JPEGImage")
    entries = []
    for stem in sorted(splits.keys() & images.keys() if chosen else images):
        read_shapes = _NOTHING
        if stem in annotated:
            read_shapes = partial(voc_shapes, annotations / f"{stem}.xml", CLASSES, DROPPED)
        elif stem.startswith("P"):
            detail = f"a positive without Annotation/{stem}.xml: left out"
            log.add(ProblemKind.MISSING_ANNOTATION, images[stem], detail)
            continue
        name = images[stem]
        split = splits.get(stem, "")
        entries.append(Entry(name=name, image=folder / name, read_shapes=read_shapes, split=split))
    return entries


def _home(root: Path) -> tuple[Path | None, Path | None]:
    """(the folder with JPEGImage in it, the set to which `root` restricts it)."""
    if root.parent.name == "ImageSet" and (root.parent.parent / "JPEGImage").is_dir():
        return root.parent.parent, root
    images = subfolder(root, "JPEGImage") if root.is_dir() else None
    return (images.parent if images else None), None


def _names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """File names by suffix, in one reading of the folder: a stat of each of a million files would
    take minutes on a network drive."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as files:
        names = [file.name for file in files]
    return [n for n in names if n.lower().endswith(suffixes) and not n.startswith(".")]


def _largest_set(home: Path) -> Path | None:
    sets: dict[Path, int] = {}
    for file in sorted(home.glob("ImageSet/*/*.csv")):
        sets[file.parent] = sets.get(file.parent, 0) + file.stat().st_size
    return max(sets, key=lambda folder: sets[folder], default=None)


def _splits(folder: Path | None, log: ProblemLog) -> dict[str, str]:
    """stem -> "10/train". The labels in the other columns say nothing that the boxes do not."""
    splits: dict[str, str] = {}
    for file in sorted(folder.glob("*.csv")) if folder is not None else ():
        split = f"{file.parent.name}/{file.stem}"
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
            for row in csv.reader(lines):
                if not row or row[0] == "name":
                    continue
                stem = stem_of(row[0])
                if splits.setdefault(stem, split) != split:
                    detail = f"in {splits[stem]} and {split}: the first counts"
                    log.add(ProblemKind.DUPLICATE_ID, stem, detail)
    return splits
