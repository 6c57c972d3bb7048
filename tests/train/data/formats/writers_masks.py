"""Tiny data sets in the layouts of real ones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.data.dataset import usable_samples
from apsam_train.data.formats import load, names, open_dataset, recognise
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample

WIDTH, HEIGHT = 40, 30
SQUARE = [[5, 4], [15, 4], [15, 14], [5, 14]]
"""A polygon around the 100 pixels of `square_mask`."""


def square_mask() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:14, 5:15] = True
    return mask


def write_picture(file: Path, *, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """Light grey, with the square in brown."""
    picture = np.full((height, width, 3), 240, np.uint8)
    picture[4:14, 5:15] = (40, 90, 160)
    return write_pixels(file, picture)


def write_pixels(file: Path, pixels: NDArray[np.uint8]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return file


def write_json(file: Path, document: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def write_mac_leftover(file: Path) -> None:
    """What macOS puts into archives beside `file`."""
    (file.parent / f"._{file.name}").write_bytes(b"\x00\x05\x16\x07Mac OS X")


def coco(
    images: Sequence[str], objects: Sequence[dict[str, Any]], categories: Sequence[str]
) -> dict[str, Any]:
    """A COCO document; image ids count from 0, category ids from 1. An object has `image`, the
    index of its image, and `category`, a name."""
    size = {"width": WIDTH, "height": HEIGHT}
    return {
        "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(images)],
        "annotations": [
            {
                "id": number,
                "image_id": item["image"],
                "category_id": categories.index(item["category"]) + 1,
                "iscrowd": 0,
                "area": 1.0,
                **{k: v for k, v in item.items() if k not in ("image", "category")},
            }
            for number, item in enumerate(objects)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, 1)],
    }


def outlined(image: int, category: str) -> dict[str, Any]:
    """The square as an object of a COCO document."""
    polygon = [float(value) for point in SQUARE for value in point]
    bbox = [5.0, 4.0, 10.0, 10.0]
    return {"image": image, "category": category, "segmentation": [polygon], "bbox": bbox}


def boxed(image: int, category: str) -> dict[str, Any]:
    """The square's box as an object of a COCO document."""
    return {"image": image, "category": category, "bbox": [5, 4, 10, 10]}


def labelme(*shapes: dict[str, Any], image: str = "x.jpg", **others: object) -> dict[str, Any]:
    """A labelme document with an embedded picture that is none."""
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": "AAAA",
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **others,
    }


def polygon(label: str, points: object = SQUARE, **others: object) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", **others}


def rectangle(label: str, points: object) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "rectangle", "group_id": None}


def recognised(root: Path) -> list[str]:
    """What `recognise` says, and every format of one data set that claims the folder."""
    own = [name for name in names() if not load(name).GENERIC]
    return [recognise(root), *(name for name in own if load(name).looks_like(root))]


def samples(root: Path, split: str = "") -> dict[str, Sample]:
    """name -> sample, of a data set without a problem, as another process reads it."""
    dataset = open_dataset(root, split=split, log=ProblemLog(strict=True))
    dataset = pickle.loads(pickle.dumps(dataset))
    return {sample.name: sample for _, sample in usable_samples(dataset, ProblemLog(strict=True))}


def problems(root: Path, *, strict: bool = False) -> tuple[list[str], dict[str, int]]:
    """(names of usable samples, problems by kind)."""
    log = ProblemLog(strict=strict)
    found = [sample.name for _, sample in usable_samples(open_dataset(root, log=log), log)]
    return found, log.counts()


def categories_of(sample: Sample) -> list[str]:
    return [item.category for item in (*sample.instances, *sample.boxes)]


def corners(sample: Sample) -> list[tuple[float, float, float, float]]:
    """left, top, right, bottom of every box."""
    boxes = [item.box for item in sample.boxes]
    return [(box.left, box.top, box.right, box.bottom) for box in boxes]
