"""YOLO label files to entries: a line per object, `class x y w h` for a box by its centre or
`class x1 y1 x2 y2 x3 y3 ...` for an outline, in shares of the image's width and height. Both may
stand in one file; an empty file says that nothing is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from apsam_serve.contract.prompts import Box
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import is_image, read_text, walk
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.sidecars import image_size

_NAME_LISTS = ("classes.txt", "obj.names")
_NUM_PEEKED = 50


def has_labels(folder: Path) -> bool:
    """Whether a folder `labels` holds text files, not masks."""
    return any(_is_label(file) for file in islice(walk(folder), _NUM_PEEKED))


def yolo_entries(
    images: Path,
    labels: Path,
    *,
    root: Path,
    split_of: Callable[[Path], str],
    names: Mapping[int, str],
    log: ProblemLog,
    bag_of: Callable[[str], str] = lambda _stem: "",
    nothing: str | None = None,
) -> list[Entry]:
    """The images below `images`, each with the file of its name below `labels`.

    An image without label file counts as a problem, and is kept as an image of nothing, as YOLO's
    own tools do. split_of: path below `images` -> split; names: by class index, {} where unknown;
    nothing: the name of a class that stands for no object.
    """
    label_files = {f.relative_to(labels).with_suffix(""): f for f in walk(labels) if _is_label(f)}
    entries = []
    for image in walk(images):
        if not is_image(image):
            continue
        place = image.relative_to(images)
        name = image.relative_to(root).as_posix()
        label = label_files.pop(place.with_suffix(""), None)
        if label is None:
            detail = f"no {place.with_suffix('.txt')} in {labels.name}: taken for an empty one"
            log.add(ProblemKind.MISSING_ANNOTATION, name, detail)
        entries.append(
            Entry(
                name=name,
                image=image,
                read_shapes=partial(_shapes, image, label, names, nothing),
                split=split_of(place),
                bag=bag_of(image.stem),
            )
        )
    for label in label_files.values():
        detail = f"no image of that name in {images.name}"
        log.add(ProblemKind.MISSING_IMAGE, label.relative_to(root).as_posix(), detail)
    return entries


def _is_label(file: Path) -> bool:
    return file.suffix == ".txt" and file.name not in _NAME_LISTS


def _shapes(
    image: Path, label: Path | None, names: Mapping[int, str], nothing: str | None, report: Report
) -> list[Shape]:
    lines = read_text(label).splitlines() if label is not None else []
    if not any(line.strip() for line in lines):
        return []
    size = image_size(image)
    shapes = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            index, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            index, values = 0, []
        if len(values) < 4 or len(values) % 2:
            detail = f"line {number} is {line.strip()[:60]!r}, neither a box nor an outline"
            report(ProblemKind.BAD_ANNOTATION, detail)
            continue
        category = names.get(index) if names else f"class {index}"
        if category is None:
            detail = f"line {number} is of class {index}; the data set names {len(names)}"
            report(ProblemKind.UNKNOWN_CATEGORY, detail)
        elif category != nothing:
            shapes.append(_shape(category, values, size))
    return shapes


def _shape(category: str, values: list[float], size: tuple[int, int]) -> Shape:
    scaled = [v * (size[0] if i % 2 else size[1]) for i, v in enumerate(values)]
    if len(values) > 4:
        return Shape(category=category, segmentation=[scaled])
    x, y, w, h = scaled
    box = Box(left=x - w / 2, top=y - h / 2, right=x + w / 2, bottom=y + h / 2)
    return Shape(category=category, box=box)
