"""labelme's form: a copy of every image with a JSON file beside it.

An object is one polygon per piece, tied by `group_id`, along the edges of its pixels. With holes,
which labelme's polygons cannot have, it is a shape of the type "mask", known since labelme 5.4.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apsam_serve.console.exports.contents import Annotated, label_of, mask_of
from apsam_serve.console.exports.files import write_json
from apsam_serve.console.exports.outlines import pieces
from apsam_serve.console.rows import ObjectRow
from apsam_serve.contract.masks import Mask, encode_png

VERSION = "5.4.1"


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write the images and their files."""
    for entry in contents:
        shutil.copyfile(entry.file, folder / entry.file_name)
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for one in entry.objects for shape in _shapes(one)],
            "imagePath": entry.file_name,
            "imageData": None,
            "imageHeight": entry.image.height,
            "imageWidth": entry.image.width,
        }
        write_json(folder / f"{entry.stem}.json", document)


def _shapes(one: ObjectRow) -> list[dict[str, Any]]:
    mask = mask_of(one)
    found = pieces(mask)
    if any(len(rings) > 1 for rings in found):
        return [_shape(one, "mask", _corners(one), mask=_crop(one, mask))]
    return [_shape(one, "polygon", ring.tolist()) for (ring,) in found]


def _shape(
    one: ObjectRow, kind: str, points: list[list[int]], *, mask: str | None = None
) -> dict[str, Any]:
    return {
        "label": label_of(one),
        "points": points,
        "group_id": one.id,
        "description": f"{one.verdict} by {one.reviewer}" if one.reviewer else one.verdict,
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


def _corners(one: ObjectRow) -> list[list[int]]:
    """First and last pixel of the box."""
    box = one.box
    return [[int(box.left), int(box.top)], [int(box.right) - 1, int(box.bottom) - 1]]


def _crop(one: ObjectRow, mask: Mask) -> str:
    (left, top), (right, bottom) = _corners(one)
    inside = np.ascontiguousarray(mask[top : bottom + 1, left : right + 1])
    return base64.b64encode(encode_png(inside)).decode("ascii")
