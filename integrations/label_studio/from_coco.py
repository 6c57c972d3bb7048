"""`python -m integrations.label_studio.from_coco`: COCO masks as tasks with predictions.

Label Studio's own COCO importer takes polygons and boxes, but no run lengths, which is what masks
with holes and proposals of `apsam-train annotate` are stored as.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from apsam_serve.contract.masks import Rle, decode_rle
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.errors import ApsamError, InvalidInputError
from integrations.label_studio.tasks import Document, Target, prediction_of, target_of

_NAME = "{name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for input that can never work."""
    options = _parser().parse_args(argv)
    try:
        tasks = tasks_of(
            json.loads(options.coco.read_text()),
            target_of(options.interface.read_text()),
            address=options.address,
            version=options.coco.stem,
        )
    except (ApsamError, OSError, ValueError, KeyError) as error:
        if isinstance(error, KeyError):
            error = InvalidInputError(f"{options.coco} has no {error}; give COCO instances")
        print(f"from_coco: error: {error}", file=sys.stderr)
        return 2
    options.out.write_text(json.dumps(tasks))
    print(f"{len(tasks)} tasks in {options.out}")
    return 0


def tasks_of(
    document: Document, target: Target, *, address: str, version: str
) -> list[dict[str, Any]]:
    """A task per image; address: of an image, with {name} for its file_name. Annotations without a
    mask are left out.

    Raises InvalidInputError for categories that the interface lacks and masks of other forms.
    """
    names = {record["id"]: record["name"] for record in document["categories"]}
    by_image: dict[int, list[tuple[Segmentation, str | None]]] = {
        record["id"]: [] for record in document["images"]
    }
    for record in document["annotations"]:
        if record.get("segmentation"):
            label = names[record["category_id"]]
            if label not in target.labels:
                raise InvalidInputError(
                    f"category {label!r} is no label of <{target.kind} name={target.from_name!r}>, "
                    f"which has {', '.join(target.labels)}; add it to the interface"
                )
            by_image[record["image_id"]].append((_answer(record), label))
    return [
        {
            "data": {target.data_key: address.replace(_NAME, quote(record["file_name"]))},
            "predictions": [
                prediction_of(by_image[record["id"]], target, version=version, simplify_px=0)
            ],
        }
        for record in document["images"]
    ]


def _answer(record: Document) -> Segmentation:
    segmentation = record["segmentation"]
    if not (isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), str)):
        raise InvalidInputError(
            f"annotation {record.get('id')} has no compressed run lengths; polygons are imported "
            "by `label-studio-converter import coco`"
        )
    height, width = segmentation["size"]
    mask = decode_rle(Rle(height=height, width=width, counts=segmentation["counts"]))
    return Segmentation(
        mask=mask, score=float(record.get("score", 1.0)), points=(), branch="direct"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m integrations.label_studio.from_coco",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("coco", type=Path, help="instances with run lengths, as a round's proposals.json")
    add("--interface", type=Path, required=True, help="file with the project's labeling interface")
    add(
        "--address",
        required=True,
        help=f"of images, {_NAME} standing for file_name, as /data/local-files/?d=bags/{_NAME}",
    )
    add("--out", type=Path, default=Path("tasks.json"), help="to import (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
