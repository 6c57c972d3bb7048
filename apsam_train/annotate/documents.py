"""COCO documents of rounds: proposals, reviews, and the objects in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apsam_serve.contract.prompts import Box
from apsam_train.annotate.record import RECORD
from apsam_train.categories import CATEGORIES, SUPERCLASS
from apsam_train.data.boxes import from_bbox
from apsam_train.data.files import read_json
from apsam_train.data.rle import Rle
from apsam_train.errors import DatasetError

Document = dict[str, Any]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RoundImage:
    """One image of a round. name: as in the data set; path: relative to the round's data_root;
    sha256: of the file."""

    id: int
    name: str
    path: str
    sha256: str
    height: int
    width: int
    split: str
    bag: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ProposedObject:
    """One proposal, as later steps need it. mask: None when it is empty; known_box: the box that
    was known beforehand."""

    id: int
    category: str
    mask: Rle | None
    known_box: Box
    box_iou: float


@dataclass(frozen=True, kw_only=True, eq=False)
class OutlinedObject:
    """One object as a person left it."""

    category: str
    mask: Rle


def category_ids(names: Iterable[str]) -> dict[str, int]:
    """Ids by name: Table 7 keeps its own, so that a reviewer can choose any of the thirty; other
    names follow, sorted."""
    others = sorted(set(names) - set(CATEGORIES))
    return {name: number for number, name in enumerate((*CATEGORIES, *others), start=1)}


def category_records(ids: Mapping[str, int]) -> list[Record]:
    """COCO's categories."""
    return [
        {"id": number, "name": name, "supercategory": SUPERCLASS.get(name, name)}
        for name, number in ids.items()
    ]


def image_record(image: RoundImage) -> Record:
    """COCO's image, with what we know beside it."""
    values = asdict(image)
    return {"id": values.pop("id"), "file_name": values.pop("name"), **values}


def image_file(image: RoundImage, data_root: str, folder: Path) -> Path:
    """Where an image of the round in `folder` lies. Raises DatasetError when it is not there."""
    file = Path(data_root, image.path)
    if not file.is_file():
        raise DatasetError(
            f"{file} of {folder} is not there; when the data set has moved, set data_root in "
            f"{folder / RECORD}"
        )
    return file


def read_images(document: Document) -> dict[int, RoundImage]:
    """The images of a document that we wrote, by id."""
    images = {}
    for record in document["images"]:
        values = dict(record)
        images[record["id"]] = RoundImage(name=values.pop("file_name"), **values)
    return images


def read_proposals(document: Document) -> dict[int, list[ProposedObject]]:
    """The proposals by image id; every image is there."""
    names = {record["id"]: record["name"] for record in document["categories"]}
    found: dict[int, list[ProposedObject]] = {record["id"]: [] for record in document["images"]}
    for record in document["annotations"]:
        found[record["image_id"]].append(
            ProposedObject(
                id=record["id"],
                category=names[record["category_id"]],
                mask=record["segmentation"] or None,
                known_box=from_bbox(record["known_box"]),
                box_iou=record["box_iou"],
            )
        )
    return found


def read_outlined(document: Document) -> dict[int, list[OutlinedObject]]:
    """The objects of a review by image id; every reviewed image is there."""
    names = {record["id"]: record["name"] for record in document["categories"]}
    found: dict[int, list[OutlinedObject]] = {record["id"]: [] for record in document["images"]}
    for record in document["annotations"]:
        found[record["image_id"]].append(
            OutlinedObject(category=names[record["category_id"]], mask=record["segmentation"])
        )
    return found


def read_document(file: Path) -> Document:
    """A COCO document that a round holds. Raises DatasetError when it is no longer one."""
    document = read_json(file)
    if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= set(
        document
    ):
        raise DatasetError(f"{file} is no COCO file of a round; restore it or make the round again")
    return document


def to_text(document: Mapping[str, Any]) -> str:
    """JSON with one record per line: a text editor and a diff can cope with it."""
    parts = []
    for key, value in document.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]" if value else f"{json.dumps(key)}: []")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{" + ",\n".join(parts) + "}\n"
