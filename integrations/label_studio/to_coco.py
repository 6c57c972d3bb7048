"""`python -m integrations.label_studio.to_coco`: Label Studio's JSON export as COCO instances.

Every pixel comes back, where Label Studio's own COCO exports turn brushes into polygons through the
middles of pixels. `apsam-train annotate accept` and `apsam-train` read the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import encode_rle
from apsam_serve.contract.polygons import decode_polygons
from apsam_serve.errors import ApsamError, InvalidInputError
from integrations.label_studio.brush import decode_brush
from integrations.label_studio.tasks import Document

_BRUSHES, _POLYGONS = ("brushlabels",), ("polygonlabels",)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for input that can never work."""
    options = _parser().parse_args(argv)
    try:
        document = coco_of(json.loads(options.export.read_text()), data_key=options.data_key)
    except (ApsamError, OSError, ValueError) as error:
        print(f"to_coco: error: {error}", file=sys.stderr)
        return 2
    options.out.write_text(json.dumps(document))
    counts = f"{len(document['annotations'])} objects of {len(document['images'])} images"
    print(f"{counts} in {options.out}")
    return 0


def coco_of(tasks: Any, *, data_key: str = "image") -> dict[str, Any]:
    """The last annotation of each task that was not skipped; an image without objects stays, as one
    whose proposals were all wrong. Raises InvalidInputError for what is no export with masks."""
    try:
        finished = [(task, _last(task)) for task in tasks]
        return _document([(t, regions) for t, regions in finished if regions is not None], data_key)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidInputError(
            f"export has a record without {error}; export as JSON, not as JSON-MIN"
        ) from error


def _last(task: Document) -> list[Document] | None:
    annotations = [found for found in task["annotations"] if not found.get("was_cancelled")]
    return list(annotations[-1]["result"]) if annotations else None


def _document(finished: Sequence[tuple[Document, list[Document]]], key: str) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    objects: list[tuple[int, str, NDArray[np.bool_]]] = []
    for task, regions in finished:
        image = {"id": task["id"], "file_name": file_name(task["data"][key])}
        for region in regions:
            if region["type"] in _BRUSHES + _POLYGONS:
                mask = mask_of(region)
                image["height"], image["width"] = mask.shape
                objects.append((task["id"], region["value"][region["type"]][0], mask))
        images.append(image)
    ids = {name: number for number, name in enumerate(sorted({name for _, name, _ in objects}), 1)}
    return {
        "images": images,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [
            {"id": number, "image_id": image_id, "category_id": ids[name], **_fields(mask)}
            for number, (image_id, name, mask) in enumerate(objects, 1)
        ],
    }


def mask_of(region: Mapping[str, Any]) -> NDArray[np.bool_]:
    """A brush or polygon as bool [H, W]. Raises InvalidInputError."""
    height, width = region["original_height"], region["original_width"]
    if region["type"] in _BRUSHES:
        return decode_brush(region["value"]["rle"], height=height, width=width)
    # From percent to the middles of pixels, which is what rings are made of.
    ring = np.array(region["value"]["points"], float) * (width / 100, height / 100) - 0.5
    ring = ring.clip(0, (width - 1, height - 1))
    return decode_polygons(json.dumps([ring.tolist()]).encode(), height=height, width=width)


def file_name(address: str) -> str:
    """The path in a task's address; that of local files within their folder."""
    parts = urlsplit(address)
    inner = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return inner.lstrip("/")


def _fields(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        raise InvalidInputError("a region has no pixel; delete it in Label Studio, export again")
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": list(mask.shape), "counts": encode_rle(mask).counts},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m integrations.label_studio.to_coco",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("export", type=Path, help="a project's export as JSON")
    add("--data-key", default="image", help="of the image in a task's data (%(default)s)")
    add("--out", type=Path, default=Path("corrected.json"), help="(%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
