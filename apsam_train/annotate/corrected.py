"""Corrected COCO files as annotation tools export them: read, checked, tied to a round's images.

Unlike `data.coco_index`, which leaves damaged records out and counts them, this refuses the whole
file: what a person corrected must not get lost silently. `iscrowd` is ignored, because CVAT sets it
for every mask that is not a polygon.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from apsam_train.annotate.documents import OutlinedObject, Record, RoundImage
from apsam_train.annotate.matching import match_images
from apsam_train.data.files import read_json
from apsam_train.data.rle import to_rle
from apsam_train.data.shapes import decode_segmentation
from apsam_train.errors import DatasetError

_KEYS = {"images", "annotations", "categories"}
_NUM_SHOWN = 5


def read_corrected(file: Path, images: Collection[RoundImage]) -> dict[int, list[OutlinedObject]]:
    """The objects of every image of `file` by the round's image id, [] where all were deleted.

    Raises DatasetError naming what is wrong: no COCO file, images that are not of the round or have
    another size, categories or images that are not listed, objects without a usable outline.
    """
    document = read_json(file)
    if not (isinstance(document, dict) and set(document) >= _KEYS):
        raise DatasetError(
            f"{file} is no COCO instances file (images, annotations, categories); export one from "
            "the annotation tool"
        )
    try:
        by_id = _images(document["images"], images, file)
        names = {c["id"]: str(c["name"]) for c in document["categories"]}
        return _objects(document["annotations"], by_id, names, file)
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file} has a record without {error}; export it again") from error


def _images(
    records: list[Record], images: Collection[RoundImage], file: Path
) -> dict[Any, RoundImage]:
    if not records:
        raise DatasetError(f"{file} lists 0 images; export the corrected ones")
    ids = [record["id"] for record in records]
    if len(set(ids)) < len(ids):
        raise DatasetError(f"{file} gives several images the same id; export it again")
    known = {image.name: image for image in images}
    names = [str(record["file_name"]) for record in records]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DatasetError(f"{file} lists images twice: {', '.join(twice[:_NUM_SHOWN])}")
    resolved = match_images(names, sorted(known))
    by_id = {}
    for record, name in zip(records, names, strict=True):
        image = known[resolved[name]]
        size = record.get("width") or image.width, record.get("height") or image.height
        if size != (image.width, image.height):
            raise DatasetError(
                f"{file}: {name} is {size[0]} x {size[1]} pixels, the round's {image.name} is "
                f"{image.width} x {image.height}; correct the images that were proposed, unscaled"
            )
        by_id[record["id"]] = image
    return by_id


def _objects(
    records: list[Record], by_id: dict[Any, RoundImage], names: dict[Any, str], file: Path
) -> dict[int, list[OutlinedObject]]:
    found: dict[int, list[OutlinedObject]] = {image.id: [] for image in by_id.values()}
    wrong: dict[str, list[str]] = defaultdict(list)
    for record in records:
        image = by_id.get(record["image_id"])
        name = names.get(record["category_id"])
        if image is None:
            wrong["an image that is not listed"].append(f"annotation {record.get('id')}")
            continue
        where = f"annotation {record.get('id')} of {image.name}"
        if name is None:
            wrong["a category that is not listed"].append(where)
            continue
        segmentation = record.get("segmentation")
        try:
            mask = _mask(segmentation, image)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            what = f"damaged: {error}" if segmentation else "only a box: outline it or delete it"
            wrong["no usable outline"].append(f"{where} ({what})")
            continue
        found[image.id].append(OutlinedObject(category=name, mask=mask))
    for what, places in wrong.items():
        shown = ", ".join(places[:_NUM_SHOWN]) + (" ..." if len(places) > _NUM_SHOWN else "")
        raise DatasetError(f"{file}: {len(places)} annotations have {what}: {shown}")
    return found


def _mask(segmentation: Any, image: RoundImage) -> Any:
    if isinstance(segmentation, list):
        values = np.array([value for part in segmentation for value in part], float)
        if not np.isfinite(values).all():
            raise ValueError("polygon holds NaN or infinity")
    mask = decode_segmentation(segmentation, height=image.height, width=image.width)
    if not mask.any():
        raise ValueError("no pixel of it lies inside the image")
    return to_rle(mask)
