"""Data sets laid out as OPIXray is: {train,test}/{train,test}_{image,annotation}/, and a text file
per image whose lines read `imgname CLASS x1 y1 x2 y2`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from apsam_serve.contract.prompts import Box
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import images_by_stem, read_text, subfolder
from apsam_train.data.name_lists import listed_stems, stem_of
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.sidecars import files_by_stem
from apsam_train.errors import DatasetError

_PARTS = ("train", "test")


def has_layout(root: Path, *, lists: str, classes: tuple[str, ...]) -> bool:
    """Whether `root` has the layout and, in it, lists like `train_<lists>.txt`; without any list,
    whether its first annotation names one of `classes`."""
    home = _home(root)
    if home is None:
        return False
    if any(home.glob("t*/t*_*.txt")):
        return any((home / part / f"{part}_{lists}.txt").is_file() for part in _PARTS)
    first = next((file for part in _PARTS for file in _annotations(home, part).values()), None)
    words = read_text(first).split() if first is not None else []
    return len(words) > 5 and words[1] in classes


def box_text_entries(
    root: Path, *, lists: str, classes: tuple[str, ...], log: ProblemLog
) -> list[Entry]:
    """Every image that has an annotation; split: "train", "test", or "test/1" for an image that
    `test_<lists>-1.txt` lists. Raises DatasetError when the layout is not there."""
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has neither train/train_image nor test/test_image")
    entries = []
    for part in _PARTS:
        images = images_by_stem(home / part / f"{part}_image")
        annotations = _annotations(home, part)
        listed = listed_stems(home / part / f"{part}_{lists}.txt")
        for stem in sorted({*annotations, *listed} - set(images)):
            detail = f"annotated or listed in {part}, not in {part}_image"
            log.add(ProblemKind.MISSING_IMAGE, f"{part}/{stem}", detail)
        levels = _levels(home / part, f"{part}_{lists}-")
        for stem, image in images.items():
            name = image.relative_to(home).as_posix()
            if stem not in annotations:
                detail = f"no {part}_annotation/{stem}.txt: left out"
                log.add(ProblemKind.MISSING_ANNOTATION, name, detail)
                continue
            entries.append(
                Entry(
                    name=name,
                    image=image,
                    read_shapes=partial(_shapes, annotations[stem], classes),
                    split=f"{part}/{levels[stem]}" if stem in levels else part,
                )
            )
    return entries


def _home(root: Path) -> Path | None:
    """The folder with `train` or `test` in it."""
    if not root.is_dir():
        return None
    inside = (subfolder(root, part) for part in _PARTS)
    return next((f.parent for f in inside if f and (f / f"{f.name}_image").is_dir()), None)


def _annotations(home: Path, part: str) -> dict[str, Path]:
    return files_by_stem(home / part / f"{part}_annotation", ".txt")


def _levels(folder: Path, prefix: str) -> dict[str, str]:
    """stem -> level, from files like test_knife-1.txt."""
    files = sorted(folder.glob(f"{prefix}*.txt"))
    return {s: file.stem.removeprefix(prefix) for file in files for s in listed_stems(file)}


def _shapes(file: Path, classes: tuple[str, ...], report: Report) -> list[Shape]:
    shapes = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            left, top, right, bottom = (float(word) for word in words[-4:])
            image, category = " ".join(words[:-5]), words[-5]
        except (ValueError, IndexError):
            detail = f"line {number} is {line.strip()!r}, not `image CLASS x1 y1 x2 y2`"
            report(ProblemKind.BAD_ANNOTATION, detail)
            continue
        if stem_of(image) != file.stem:
            detail = f"line {number} is of the image {image!r}: left out"
            report(ProblemKind.BAD_ANNOTATION, detail)
            continue
        if category not in classes:
            detail = f"line {number} is {category!r}, none of {', '.join(classes)}"
            report(ProblemKind.UNKNOWN_CATEGORY, detail)
        box = Box(left=left, top=top, right=right, bottom=bottom)
        shapes.append(Shape(category=category, box=box))
    return shapes
