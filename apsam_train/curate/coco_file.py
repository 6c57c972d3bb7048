"""Writes a COCO file image by image: the annotations of a hundred thousand never lie in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from apsam_train.curate.taxonomy import coco_categories
from apsam_train.files import whole_file


class CocoFile:
    """Ids count from 1 in the order in which images are added."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._images: list[dict[str, Any]] = []
        self._num_annotations = 0
        self._num_masks = 0
        self._categories: Counter[int] = Counter()

    def add(self, image: dict[str, Any], annotations: list[dict[str, Any]]) -> None:
        """Add an image and its annotations, both without ids."""
        number = len(self._images) + 1
        self._images.append({"id": number, **image})
        for annotation in annotations:
            comma = ",\n" if self._num_annotations else ""
            self._num_annotations += 1
            numbered = {"id": self._num_annotations, "image_id": number, **annotation}
            self._stream.write(comma + json.dumps(numbered))
            self._categories[annotation["category_id"]] += 1
            self._num_masks += "segmentation" in annotation

    def counts(self) -> dict[str, Any]:
        """Images, objects, masks, and objects by category id."""
        return {
            "images": len(self._images),
            "objects": self._num_annotations,
            "masks": self._num_masks,
            "categories": {str(n): count for n, count in sorted(self._categories.items())},
        }

    def start(self) -> None:
        """What stands before the annotations."""
        info = {"description": "Curated by apsam-train curate"}
        categories = coco_categories()
        self._stream.write(f'{{"info": {json.dumps(info)},\n"categories": ')
        self._stream.write(f'{json.dumps(categories)},\n"annotations": [')

    def finish(self) -> None:
        """What stands behind them."""
        self._stream.write(f'],\n"images": {json.dumps(self._images)}}}\n')


@contextmanager
def coco_file(file: Path) -> Iterator[CocoFile]:
    """A COCO file that appears when the block succeeds, unless it would hold no image: readers
    take that for a mistake."""
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as stream:
        coco = CocoFile(stream)
        coco.start()
        yield coco
        coco.finish()
    if not coco.counts()["images"]:
        file.unlink()
