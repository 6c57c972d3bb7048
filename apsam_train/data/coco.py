"""COCO instance segmentation: `DIR/annotations.json` with images beside it, or any COCO file."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.contract.images import decode
from apsam_serve.errors import InvalidImageError
from apsam_train.data.sample import Instance, Sample
from apsam_train.errors import DatasetError


class CocoDataset:
    """Polygons, compressed and uncompressed RLE; crowds and empty masks are left out."""

    def __init__(self, path: Path) -> None:
        """path: a folder with annotations.json, or a COCO file whose image names are relative to
        it. Raises DatasetError."""
        self._file = path / "annotations.json" if path.is_dir() else path
        document = _read(self._file)
        try:
            self._images = sorted(document["images"], key=lambda image: image["file_name"])
            self._names = {c["id"]: c["name"] for c in document["categories"]}
            self._annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for annotation in document["annotations"]:
                if not annotation.get("iscrowd", 0):
                    self._annotations[annotation["image_id"]].append(annotation)
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{self._file} is no COCO file: it lacks {error}") from error
        if not self._images:
            raise DatasetError(f"{self._file} lists 0 images; give a data set with at least one")

    @property
    def description(self) -> str:
        return f"{self._file.parent.name}/{self._file.name}: {len(self)} images"

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        record = self._images[index]
        file = self._file.parent / record["file_name"]
        try:
            image = decode(file.read_bytes())
        except (OSError, InvalidImageError) as error:
            raise DatasetError(f"{file} cannot be read: {error}") from error
        height, width = image.shape[:2]
        if (record["height"], record["width"]) != (height, width):
            raise DatasetError(
                f"{file} is {width} x {height} pixels, but {self._file} says "
                f"{record['width']} x {record['height']}; fix the annotation file"
            )
        instances = (
            self._instance(annotation, height, width)
            for annotation in self._annotations[record["id"]]
        )
        return Sample(
            name=record["file_name"],
            image=image,
            instances=tuple(instance for instance in instances if instance.mask.any()),
        )

    def _instance(self, annotation: dict[str, Any], height: int, width: int) -> Instance:
        try:
            return Instance(
                category=self._names[annotation["category_id"]],
                mask=_decode_mask(annotation["segmentation"], height, width),
                overlap=annotation.get("overlap"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{self._file}: annotation {annotation.get('id')} is unusable ({error!r})"
            ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read ({error.strerror}); give a folder made by `apsam-train synth` "
            "or a COCO file"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{file} is no COCO file: its top level is not an object")
    return document


def _decode_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"mask size {rle['size']} differs from image size {[height, width]}")
    decoded: NDArray[np.uint8] = coco_mask.decode(rle)
    return decoded.astype(np.bool_)
