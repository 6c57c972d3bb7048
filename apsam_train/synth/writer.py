"""Writes a data set: COCO annotations, PNG pictures, 16-bit energy pairs; all or nothing."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.categories import CATEGORIES, SUPERCLASS, category_id
from apsam_train.data.rle import mask_fields, to_rle

from .generator import GENERATOR_VERSION, SHAPE, SynthConfig, SyntheticImage

# Noise has no repeats to find: Huffman codes alone cost 3 % more bytes in colour, fewer in 16 bits,
# and save a quarter (colour) to a half (16 bits) of the encoding time (measured).
_PNG_FLAGS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
)


def write_image(
    folder: Path, *, number: int, seed: int, index: int, image: SyntheticImage, energy: bool
) -> dict[str, Any]:
    """Writes the picture(s); returns its COCO record with its annotations under "instances"."""
    name = f"{number:06d}"
    _write_png(folder / "images" / f"{name}.png", image.rgb[..., ::-1])
    if energy:
        _write_png(folder / "energy" / f"{name}_high.png", image.high)
        _write_png(folder / "energy" / f"{name}_low.png", image.low)
    height, width = image.high.shape
    return {
        "file_name": f"images/{name}.png",
        "width": width,
        "height": height,
        "palette": image.palette,
        "seed": seed,
        "index": index,
        "instances": [
            _annotation(item.category, item.mask, item.materials, item.overlap)
            for item in image.instances
        ],
    }


def write_annotations(
    folder: Path, records: Iterable[dict[str, Any]], config: SynthConfig, seed: int
) -> None:
    """One COCO file; ids count from 1 in order of the records."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        image_id = len(images) + 1
        images.append({"id": image_id, **{k: v for k, v in record.items() if k != "instances"}})
        for instance in record["instances"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **instance})
    document = {
        "info": {
            "description": "Synthetic dual-energy X-ray baggage",
            "generator_version": GENERATOR_VERSION,
            "seed": seed,
            "config": asdict(config),
        },
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": _id(name), "name": name, "supercategory": SUPERCLASS.get(name, "")}
            for name in ((SHAPE,) if config.scene == "shapes" else CATEGORIES)
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def _annotation(
    category: str, mask: NDArray[np.bool_], materials: tuple[str, ...], overlap: float
) -> dict[str, Any]:
    return {
        "category_id": _id(category),
        **mask_fields(to_rle(mask)),
        "iscrowd": 0,
        "overlap": overlap,
        "materials": list(materials),
    }


def _id(category: str) -> int:
    """As in Table 7; plain shapes stand beyond its superclasses."""
    return 100 if category == SHAPE else category_id(category)


def _write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    ok, data = cv2.imencode(".png", np.ascontiguousarray(pixels), _PNG_FLAGS)
    assert ok, "a contiguous 8- or 16-bit image always encodes"
    path.write_bytes(data.tobytes())
