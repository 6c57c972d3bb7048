"""From annotated shapes to masks and boxes that lie inside the image."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.contract.images import decode
from apsam_serve.contract.prompts import Box
from apsam_serve.errors import ApsamError
from apsam_train.data.entry import Report, Shape
from apsam_train.data.problems import ProblemKind
from apsam_train.data.sample import BoxedObject, Instance

_SLACK = 1.0
"""Pixels that a polygon may leave the image by without being a problem: rounding of tools."""


def as_object(
    shape: Shape, *, height: int, width: int, report: Report
) -> Instance | BoxedObject | None:
    """The object that a shape describes, clipped to the image; None when nothing of it is left.

    Everything that was clipped or dropped is reported.
    """
    try:
        if shape.segmentation is None and shape.mask_file is None:
            return _boxed(shape, height=height, width=width, report=report)
        mask = _mask(shape, height=height, width=width, report=report)
    except (ApsamError, OSError, KeyError, TypeError, ValueError, IndexError) as error:
        report(ProblemKind.BAD_ANNOTATION, f"{shape.category}: {error!r}")
        return None
    if not mask.any():
        report(ProblemKind.EMPTY_MASK, f"{shape.category}: no pixel lies inside the image")
        return None
    return Instance(category=shape.category, mask=mask, overlap=shape.overlap)


def clipped(box: Box, *, height: int, width: int) -> Box | None:
    """The part of a box inside the image; None when less than one pixel of it is left."""
    inside = replace(
        box,
        left=max(box.left, 0.0),
        top=max(box.top, 0.0),
        right=min(box.right, float(width)),
        bottom=min(box.bottom, float(height)),
    )
    if inside.right - inside.left < 1 or inside.bottom - inside.top < 1:
        return None
    return inside


def decode_segmentation(segmentation: Any, *, height: int, width: int) -> NDArray[np.bool_]:
    """COCO polygons, compressed or uncompressed RLE -> bool [H, W].

    Raises ValueError for another size than the image's, or a polygon of fewer than three points.
    """
    if isinstance(segmentation, list):
        short = [part for part in segmentation if len(part) < 6 or len(part) % 2]
        if short or not segmentation:
            raise ValueError(f"polygon {short[:1]} needs three points x, y or more")
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        if sum(segmentation["counts"]) != height * width:
            raise ValueError("RLE counts do not add up to the image's pixels")
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    if list(rle["size"]) != [height, width]:
        raise ValueError(f"mask size {rle['size']} differs from image size {[height, width]}")
    decoded: NDArray[np.uint8] = coco_mask.decode(rle)
    return decoded.astype(np.bool_)


def _boxed(shape: Shape, *, height: int, width: int, report: Report) -> BoxedObject | None:
    if shape.box is None:
        report(ProblemKind.BAD_ANNOTATION, f"{shape.category}: neither outline nor box")
        return None
    box = shape.box
    corners = (box.left, box.top, box.right, box.bottom)
    if not all(math.isfinite(value) for value in corners) or not (
        box.left < box.right and box.top < box.bottom
    ):
        report(ProblemKind.BAD_ANNOTATION, f"{shape.category}: box {corners} is empty or reversed")
        return None
    inside = clipped(box, height=height, width=width)
    if inside is None:
        detail = f"box {corners} of an image of {width} x {height}: dropped"
        report(ProblemKind.OUTSIDE_IMAGE, f"{shape.category}: {detail}")
        return None
    if max(-box.left, -box.top, box.right - width, box.bottom - height) > _SLACK:
        detail = f"box {corners} of an image of {width} x {height}: clipped"
        report(ProblemKind.OUTSIDE_IMAGE, f"{shape.category}: {detail}")
    return BoxedObject(category=shape.category, box=inside)


def _mask(shape: Shape, *, height: int, width: int, report: Report) -> NDArray[np.bool_]:
    if shape.segmentation is None:
        assert shape.mask_file is not None
        return _mask_from_file(shape.mask_file, shape.mask_value, height=height, width=width)
    if isinstance(shape.segmentation, list):
        points = np.array([v for part in shape.segmentation for v in part], float).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise ValueError("polygon holds NaN or infinity")
        beyond = np.maximum(-points, points - (width, height)).max(initial=0.0)
        if beyond > _SLACK:
            detail = f"polygon leaves the image of {width} x {height} by {beyond:.0f} pixels"
            report(ProblemKind.OUTSIDE_IMAGE, f"{shape.category}: {detail}")
    return decode_segmentation(shape.segmentation, height=height, width=width)


def _mask_from_file(file: Path, value: int | None, *, height: int, width: int) -> NDArray[np.bool_]:
    pixels = decode(file.read_bytes()).max(axis=2)
    if pixels.shape != (height, width):
        raise ValueError(
            f"{file.name} is {pixels.shape[1]} x {pixels.shape[0]}, the image {width} x {height}"
        )
    marked: NDArray[np.bool_] = pixels == value if value is not None else pixels > 0
    return marked
