"""COCO instances, twice: with run lengths, and with polygons. pycocotools reads both to the very
masks that were saved.

    instances_rle.json        segmentation: {"size": [H, W], "counts": ...}
    instances_polygons.json   segmentation: [[x, y, ...], ...]

Beside COCO's own fields an annotation has its score, source, verdict, reviewer and round; its id is
the object's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from apsam_serve.console.exports.contents import Annotated, label_of, labels_of, mask_of
from apsam_serve.console.exports.files import write_json
from apsam_serve.console.exports.outlines import polygons
from apsam_serve.console.rows import ObjectRow, rle_document
from apsam_serve.contract.categories import SUPERCLASS

Segmentation = Callable[[ObjectRow], Any]


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write both files."""
    for name, segmentation in (("rle", as_rle), ("polygons", as_polygons)):
        document = {
            "info": {"description": "masks of the APSAM console"},
            **coco_document(contents, segmentation),
        }
        write_json(folder / f"instances_{name}.json", document)


def coco_document(contents: Sequence[Annotated], segmentation: Segmentation) -> dict[str, Any]:
    """Categories, images and annotations; a category's id is its place in Table 7, from 1."""
    labels = labels_of(contents)
    ids = {name: number for number, name in enumerate(labels, start=1)}
    return {
        "categories": [
            {"id": number, "name": name, "supercategory": SUPERCLASS.get(name, name)}
            for name, number in ids.items()
        ],
        "images": [_image(entry) for entry in contents],
        "annotations": list(_annotations(contents, ids, segmentation)),
    }


def as_rle(one: ObjectRow) -> dict[str, Any]:
    """COCO's run lengths."""
    return rle_document(one.mask)


def as_polygons(one: ObjectRow) -> list[list[int]]:
    """COCO's polygons, one per piece; holes are cut out by a line there and back."""
    return [ring.ravel().tolist() for ring in polygons(mask_of(one))]


def _image(entry: Annotated) -> dict[str, Any]:
    image = entry.image
    return {
        "id": image.id,
        "file_name": image.name,
        "height": image.height,
        "width": image.width,
        "sha256": image.sha256,
    }


def _annotations(
    contents: Iterable[Annotated], ids: dict[str, int], segmentation: Segmentation
) -> Iterable[dict[str, Any]]:
    for entry in contents:
        for one in entry.objects:
            box = one.box
            yield {
                "id": one.id,
                "image_id": entry.image.id,
                "category_id": ids[label_of(one)],
                "segmentation": segmentation(one),
                "area": one.area,
                "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                "iscrowd": 0,
                "score": one.score,
                "source": one.source,
                "verdict": one.verdict,
                "reviewer": one.reviewer,
                "round": one.round,
            }
