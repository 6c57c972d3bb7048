"""One picture's results: a label map and a COCO document, or an error, each written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Proposal
from apsam_serve.client_cli.documents import bounding_box, rle_document
from apsam_serve.client_cli.folder import Picture
from apsam_serve.errors import ApsamError, InvalidInputError

UNNAMED = "object"
"""Category of what the model does not name; its id follows those of the model's names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Screening:
    """What was found in a picture of height x width pixels. categories: the model's names."""

    proposals: Sequence[Proposal]
    height: int
    width: int
    model_digest: str
    categories: Sequence[str]

    def label_map(self) -> NDArray[np.uint8]:
        """uint8 [H, W]: 0 for background, n for the n-th proposal of at most 64; where masks
        overlap, the stronger peak's."""
        labels = np.zeros((self.height, self.width), np.uint8)
        for number in range(len(self.proposals), 0, -1):
            labels[self.proposals[number - 1].segmentation.mask] = number
        return labels

    def document(self, file_name: str) -> dict[str, Any]:
        """COCO with compressed RLE. Annotation n is value n of the label map; its mask, unlike
        there, is whole where another lies over it. Category n is the model's n-th name."""
        names = [*self.categories, UNNAMED]
        image = {"id": 1, "file_name": file_name, "height": self.height, "width": self.width}
        return {
            "info": {"description": "APSAM proposals", "model_digest": self.model_digest},
            "images": [image],
            "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
            "annotations": [
                {"id": number, "image_id": 1, "iscrowd": 0, **_annotation(one, names)}
                for number, one in enumerate(self.proposals, 1)
            ],
        }

    def write(self, picture: Picture) -> None:
        """The document comes last: where it is, the label map is too. Raises InvalidInputError."""
        _, encoded = cv2.imencode(".png", self.label_map())
        _write(picture.mask, encoded.tobytes())
        _write(picture.document, json.dumps(self.document(picture.path.name)).encode())
        picture.error.unlink(missing_ok=True)


def write_error(picture: Picture, error: ApsamError) -> None:
    """Instead of results; those of an earlier picture of that name go. Raises InvalidInputError."""
    document = {
        "file_name": picture.path.name,
        "error": {"reason": error.reason, "message": str(error)},
    }
    _write(picture.error, json.dumps(document).encode())
    picture.document.unlink(missing_ok=True)
    picture.mask.unlink(missing_ok=True)


def _annotation(proposal: Proposal, names: Sequence[str]) -> dict[str, Any]:
    answer = proposal.segmentation
    name = answer.category if answer.category in names else UNNAMED
    return {
        "category_id": names.index(name or UNNAMED) + 1,
        "segmentation": rle_document(answer.mask),
        "bbox": bounding_box(answer.mask),
        "area": int(answer.mask.sum()),
        "score": answer.score,
        "category_probability": answer.category_probability,
        "attention": proposal.attention,
        "click": [proposal.click.x, proposal.click.y],
    }


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written ({error.strerror}); give a folder with room that is writable"
        ) from error
