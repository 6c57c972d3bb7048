"""The JSON of labelme: shapes of one image, as `labelme` and `stcray` have them."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.images import decode
from apsam_serve.contract.prompts import Box
from apsam_serve.errors import InvalidImageError
from apsam_train.data.entry import Report, Shape
from apsam_train.data.files import read_json
from apsam_train.data.layout import mentions
from apsam_train.data.problems import ProblemKind
from apsam_train.data.rle import Rle, to_rle
from apsam_train.data.sidecars import check_size, image_size
from apsam_train.errors import DatasetError

_CIRCLE_CORNERS = 64
"""Corners of the polygon in place of a circle: its area is 0.2 % smaller."""


def is_labelme(file: Path) -> bool:
    """Whether a file looks like labelme's, even where it is cut off."""
    return mentions(file, '"shapes"') and not mentions(file, '"categories"')


def read_labelme(file: Path) -> dict[str, Any]:
    """The file's content. Raises DatasetError when it has no list of shapes."""
    document = read_json(file)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DatasetError(f"{file} has no list 'shapes'; labelme writes one into every file")
    return document


def labelme_shapes(file: Path, image: Path, report: Report) -> list[Shape]:
    """Polygons, circles and masks as outlines, rectangles as boxes.

    Polygons of the same label and `group_id` are parts of one object. The picture that labelme
    embeds is ignored. Raises DatasetError when the file cannot be read or is for another size.
    """
    document = read_labelme(file)
    size = image_size(image)
    stated = (document.get("imageHeight") or size[0], document.get("imageWidth") or size[1])
    check_size(file, stated, image)
    shapes: list[Shape] = []
    outlines: dict[tuple[str, str], list[list[float]]] = {}
    for number, record in enumerate(document["shapes"]):
        try:
            shape = _shape(record, size)
            group = record.get("group_id")
        except (AttributeError, KeyError, TypeError, ValueError, InvalidImageError) as error:
            report(ProblemKind.BAD_ANNOTATION, f"{file.name}, shape {number}: {error!r}")
            continue
        if group is not None and isinstance(shape.segmentation, list):
            whole = outlines.setdefault((shape.category, str(group)), shape.segmentation)
            if whole is not shape.segmentation:
                whole += shape.segmentation
                continue
        shapes.append(shape)
    return shapes


def _shape(record: dict[str, Any], size: tuple[int, int]) -> Shape:
    label = str(record["label"])
    points = [(float(x), float(y)) for x, y in record["points"]]
    kind = record.get("shape_type", "polygon")
    if kind == "polygon":
        return Shape(category=label, segmentation=[[v for point in points for v in point]])
    if kind == "rectangle":
        return Shape(category=label, box=_around(points))
    if kind == "circle":
        return Shape(category=label, segmentation=[_circle(*points)])
    if kind == "mask":
        return Shape(category=label, segmentation=_mask(record["mask"], points[0], size))
    raise ValueError(f"shape_type {kind!r} has no area; use polygon, rectangle, circle or mask")


def _around(points: list[tuple[float, float]]) -> Box:
    """Two opposite corners in any order, or all four."""
    xs, ys = zip(*points, strict=True)
    return Box(left=min(xs), top=min(ys), right=max(xs), bottom=max(ys))


def _circle(centre: tuple[float, float], edge: tuple[float, float]) -> list[float]:
    radius = math.dist(centre, edge)
    angles = [2 * math.pi * n / _CIRCLE_CORNERS for n in range(_CIRCLE_CORNERS)]
    corners = [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]
    return [value for corner in corners for value in corner]


def _mask(text: str, corner: tuple[float, float], size: tuple[int, int]) -> Rle:
    """A PNG in base64, whose first pixel lies at `corner`, as RLE of an image of `size`."""
    crop: NDArray[np.bool_] = decode(base64.b64decode(text)).max(axis=2) > 0
    left, top = (round(value) for value in corner)
    bottom, right = top + crop.shape[0], left + crop.shape[1]
    if left < 0 or top < 0 or bottom > size[0] or right > size[1]:
        raise ValueError(f"mask at {(left, top, right, bottom)} leaves the image of {size[::-1]}")
    whole = np.zeros(size, bool)
    whole[top:bottom, left:right] = crop
    return to_rle(whole)
