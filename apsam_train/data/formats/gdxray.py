"""GDXray, its group Baggages: grey series B0001/B0001_0001.png, each of one bag or thing, some with
a ground_truth.txt whose lines read `image# x1 x2 y1 y2`. No split; a series counts as one bag.

The lines name no class, so an object is "prohibited item" unless its whole series shows one thing.
Coordinates are MATLAB's: pixels counted from 1, the last one inside the box.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from apsam_serve.contract.prompts import Box
from apsam_train.data.entry import Entry, Shape, given
from apsam_train.data.files import images_by_stem, read_text, subfolder
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.errors import DatasetError

TITLE = "GDXray (baggage)"
GENERIC = False
SERIES = {"B0049": "gun", "B0050": "shuriken", "B0051": "razor blade"}
# Doubtful, so outside the thirty: shuriken (thrown like a Dart, but shaped otherwise).
CATEGORIES_IN_XSEG: Mapping[str, str] = {"gun": "Gun", "razor blade": "Razorblade"}

_SERIES_NAME = re.compile(r"B\d{4}")


def looks_like(root: Path) -> bool:
    """Folders named B0001 and so on, in the folder or in its folder Baggages."""
    return bool(_series(root))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image of every series; one without ground truth has no objects."""
    series = _series(root)
    if not series:
        raise DatasetError(f"{root} has no folders named B0001, B0002, ...")
    return [entry for folder in series for entry in _read_series(folder, log)]


def _series(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    home = subfolder(root, "Baggages") or root
    return sorted(f for f in home.iterdir() if _SERIES_NAME.fullmatch(f.name) and f.is_dir())


def _read_series(folder: Path, log: ProblemLog) -> list[Entry]:
    images = {
        stem: image
        for stem, image in images_by_stem(folder).items()
        if re.fullmatch(rf"{folder.name}_\d+", stem)
    }
    truth = _ground_truth(folder, log)
    for stem in sorted(set(truth) - set(images)):
        detail = "has ground truth, but is not there"
        log.add(ProblemKind.MISSING_IMAGE, f"{folder.name}/{stem}", detail)
    return [
        Entry(
            name=f"{folder.name}/{image.name}",
            image=image,
            read_shapes=partial(given, tuple(truth.get(stem, ()))),
            bag=folder.name,
        )
        for stem, image in images.items()
    ]


def _ground_truth(folder: Path, log: ProblemLog) -> dict[str, list[Shape]]:
    """stem -> objects; {} for a series without ground truth."""
    shapes: dict[str, list[Shape]] = defaultdict(list)
    file = folder / "ground_truth.txt"
    category = SERIES.get(folder.name, "prohibited item")
    lines = read_text(file).splitlines() if file.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            image, left, right, top, bottom = (float(word) for word in line.split())
            stem = f"{folder.name}_{int(image):04d}"
        except (ValueError, OverflowError):
            detail = f"line {number} is {line.strip()!r}, not `image# x1 x2 y1 y2`"
            log.add(ProblemKind.BAD_ANNOTATION, f"{folder.name}/{file.name}", detail)
            continue
        box = Box(left=left - 1, top=top - 1, right=right, bottom=bottom)
        shapes[stem].append(Shape(category=category, box=box))
    return shapes
