"""COCO instance files to entries, for every data set that uses them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from apsam_train.data.boxes import from_bbox
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import read_json
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.errors import DatasetError

Record = dict[str, Any]


def is_coco(file: Path) -> bool:
    """Whether a file looks like COCO instances, from its parsed content."""
    try:
        document = read_json(file)
    except DatasetError:
        return False
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def coco_entries(
    file: Path,
    *,
    find_image: Callable[[str], Path],
    log: ProblemLog,
    split: str = "",
) -> list[Entry]:
    """The images of a COCO file, sorted by name, with their objects.

    find_image: file_name -> path, which need not exist. Records that contradict each other are
    left out and counted. Raises DatasetError when the file as a whole is no COCO file, or lists no
    image.
    """
    document = read_json(file)
    try:
        names = {c["id"]: str(c["name"]) for c in document["categories"]}
        images = _by_id(document["images"], file, log)
        annotations = _by_image(document["annotations"], images, file, log)
        records = sorted(images.values(), key=lambda record: str(record["file_name"]))
        if not records:
            raise DatasetError(f"{file} lists 0 images; give a data set with at least one")
        entries = []
        for record in records:
            name = str(record["file_name"])
            image = find_image(name)
            if not image.is_file():
                log.add(ProblemKind.MISSING_IMAGE, str(image), f"listed in {file.name}, not there")
                continue
            entries.append(
                Entry(
                    name=f"{split}/{name}" if split else name,
                    image=image,
                    read_shapes=partial(_shapes, annotations.get(record["id"], ()), names),
                    size=_size(record),
                    split=split,
                    bag=str(record.get("bag", "")),
                )
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file} is no COCO file: it lacks {error}") from error
    return entries


def _by_id(records: Iterable[Record], file: Path, log: ProblemLog) -> dict[Any, Record]:
    found: dict[Any, Record] = {}
    for record in records:
        if record["id"] in found:
            detail = f"image id {record['id']} again, for {record['file_name']}: left out"
            log.add(ProblemKind.DUPLICATE_ID, file.name, detail)
        else:
            found[record["id"]] = record
    return found


def _by_image(
    records: Iterable[Record], images: Mapping[Any, Record], file: Path, log: ProblemLog
) -> dict[Any, tuple[Record, ...]]:
    seen: set[Any] = set()
    grouped: dict[Any, list[Record]] = defaultdict(list)
    for record in records:
        number = record.get("id")
        if number is not None and number in seen:
            log.add(ProblemKind.DUPLICATE_ID, file.name, f"annotation id {number} again: left out")
        elif record["image_id"] not in images:
            detail = f"annotation {number} is of image {record['image_id']}, which is not listed"
            log.add(ProblemKind.MISSING_IMAGE, file.name, detail)
        elif not record.get("iscrowd", 0):
            grouped[record["image_id"]].append(record)
        seen.add(number)
    return {image: tuple(group) for image, group in grouped.items()}


def _size(record: Record) -> tuple[int, int] | None:
    if record.get("height") and record.get("width"):
        return int(record["height"]), int(record["width"])
    return None


def _shapes(records: tuple[Record, ...], names: Mapping[int, str], report: Report) -> list[Shape]:
    shapes = []
    for record in records:
        what = f"annotation {record.get('id')}"
        name = names.get(record.get("category_id", -1))
        if name is None:
            detail = f"{what} has category id {record.get('category_id')}, which is not listed"
            report(ProblemKind.UNKNOWN_CATEGORY, detail)
            continue
        try:
            segmentation = record.get("segmentation") or None
            box = None if segmentation else from_bbox(record["bbox"])
        except (KeyError, TypeError, ValueError) as error:
            report(ProblemKind.BAD_ANNOTATION, f"{what} has neither outline nor box: {error!r}")
            continue
        shapes.append(
            Shape(category=name, segmentation=segmentation, box=box, overlap=record.get("overlap"))
        )
    return shapes
