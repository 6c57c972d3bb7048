"""A simulated annotator: knows the truth, has limited time and an unsteady hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou
from apsam_train.annotate.documents import Record, read_document
from apsam_train.annotate.record import PROPOSALS
from apsam_train.annotate.work_list import worst_first
from apsam_train.data.boxes import from_bbox, mask_box_iou
from apsam_train.data.rle import to_rle
from apsam_train.data.sample import Instance
from apsam_train.data.shapes import decode_segmentation


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """least_iou: proposals at least so near the truth are left alone; budget: outlines drawn per
    round, None for no limit; miss_rate: share of bad proposals that are overlooked; jitter: pixels
    by which a drawn outline is off."""

    least_iou: float = 0.8
    budget: int | None = None
    miss_rate: float = 0.1
    jitter: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Mean IoU with the truth of all proposals of a round, and of what was handed in; objects that
    were not handed in count 0."""

    proposed_miou: float
    corrected_miou: float
    num_drawn: int


def correct(
    folder: Path,
    truth: Mapping[str, Sequence[Instance]],
    *,
    annotator: Annotator,
    seed: int,
    out: Path,
) -> Outcome:
    """Work through a round from the worst proposal on, and write the corrected COCO file `out` as
    tools do: names without folders, ids of their own, RLE.

    truth: the objects by image name. Proposals that stay empty are deleted.
    """
    document = read_document(folder / PROPOSALS)
    names = {image["id"]: image["file_name"] for image in document["images"]}
    rng = np.random.default_rng(seed)
    annotations: list[Record] = []
    before: list[float] = []
    after: list[float] = []
    num_drawn = 0
    for one in worst_first(document["annotations"]):
        target = _truth_of(one, truth[names[one["image_id"]]])
        mask, iou = _proposed(one, target)
        before.append(iou)
        is_bad = iou < annotator.least_iou and rng.random() >= annotator.miss_rate
        if is_bad and (annotator.budget is None or num_drawn < annotator.budget):
            mask = unsteady(target, annotator.jitter, rng)
            num_drawn += 1
        after.append(mask_iou(mask, target))
        if mask.any():
            annotations.append(_annotation(one, mask, number=1000 + len(annotations)))
    images = [
        {"id": 7000 + image["id"], "file_name": Path(image["file_name"]).name}
        for image in document["images"]
    ]
    corrected = {
        "images": images,
        "annotations": annotations,
        "categories": document["categories"],
    }
    out.write_text(json.dumps(corrected), encoding="utf-8")
    return Outcome(
        proposed_miou=float(np.mean(before)),
        corrected_miou=float(np.mean(after)),
        num_drawn=num_drawn,
    )


def unsteady(mask: NDArray[np.bool_], jitter: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask bool [H, W], one pixel thinner, thicker or as it is, shifted by up to `jitter` pixels;
    the mask itself where nothing would be left."""
    if jitter == 0:
        return mask
    kernel = np.ones((3, 3), np.uint8)
    pixels = mask.astype(np.uint8)
    hands = (pixels, cv2.erode(pixels, kernel), cv2.dilate(pixels, kernel))
    grown = hands[int(rng.integers(len(hands)))]
    x, y = (float(value) for value in rng.integers(-jitter, jitter + 1, 2))
    moved = cv2.warpAffine(grown, np.array([[1, 0, x], [0, 1, y]]), mask.shape[::-1], flags=0)
    drawn: NDArray[np.bool_] = moved.astype(np.bool_)
    return drawn if drawn.any() else mask


def _truth_of(one: Record, instances: Sequence[Instance]) -> NDArray[np.bool_]:
    """The object whose box was proposed on."""
    known = from_bbox(one["known_box"])
    return max(instances, key=lambda instance: mask_box_iou(instance.mask, known)).mask


def _proposed(one: Record, target: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    if not one["segmentation"]:
        return np.zeros_like(target), 0.0
    height, width = target.shape
    mask = decode_segmentation(one["segmentation"], height=height, width=width)
    return mask, mask_iou(mask, target)


def _annotation(one: Record, mask: NDArray[np.bool_], *, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 7000 + one["image_id"],
        "category_id": one["category_id"],
        "segmentation": to_rle(mask),
        "iscrowd": 1,
    }
