"""From one image to a line of the journal, and from the journal to the COCO file of a round."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apsam_serve.contract.segmenter import Segmenter
from apsam_serve.errors import InvalidImageError
from apsam_train.annotate.documents import (
    Document,
    RoundImage,
    category_ids,
    category_records,
    image_record,
)
from apsam_train.annotate.flags import Thresholds, flags_of
from apsam_train.annotate.journal import Line
from apsam_train.annotate.known import finished_objects, known_objects
from apsam_train.annotate.prompts import Proposal, as_it_is, outline
from apsam_train.annotate.record import Proposed
from apsam_train.data.boxes import to_bbox
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.entry import Entry
from apsam_train.data.problems import Problem, ProblemKind, UnusableSampleError, problem_of
from apsam_train.data.rle import iou_table, mask_fields, pair_iou, to_rle
from apsam_train.data.sample import Sample
from apsam_train.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class ProposeOptions:
    """prompt: of `prompts.CHOICES`; refine: also outline objects that have a rough mask, anew;
    seed: of random points."""

    prompt: str = "auto"
    refine: bool = False
    seed: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)


def root_of(dataset: ImageDataset) -> Path:
    """The folder that a round's image paths are relative to; a COCO file's root is the file."""
    return dataset.root if dataset.root.is_dir() else dataset.root.parent


def image_line(
    segmenter: Segmenter, dataset: ImageDataset, index: int, options: ProposeOptions
) -> Line:
    """What the journal holds of an image: its proposals, or why there are none."""
    entry = dataset.entries[index]
    try:
        sample = dataset[index]
        proposals = _outline(segmenter, sample, options, seed=[options.seed, index])
    except UnusableSampleError as error:
        return _line_without_objects(entry, error.problem)
    except InvalidImageError as error:
        problem = Problem(
            kind=ProblemKind.UNREADABLE_IMAGE, where=entry.name, detail=f"not encoded: {error}"
        )
        return _line_without_objects(entry, problem)
    return {
        "name": entry.name,
        "path": os.path.relpath(entry.image, root_of(dataset)),
        "sha256": sha256_of(entry.image),
        "height": sample.image.shape[0],
        "width": sample.image.shape[1],
        "split": sample.split,
        "bag": sample.bag,
        "problems": [asdict(problem) for problem in sample.problems],
        "objects": _objects(proposals, options.thresholds),
    }


def _line_without_objects(entry: Entry, problem: Problem) -> Line:
    return {"name": entry.name, "problems": [asdict(problem)], "objects": []}


def _outline(
    segmenter: Segmenter, sample: Sample, options: ProposeOptions, *, seed: list[int]
) -> list[Proposal]:
    known = known_objects(sample, refine=options.refine)
    if not known:
        return []
    encoded = segmenter.encode(sample.image)
    try:
        outlined = outline(encoded, known, prompt=options.prompt, seed=seed)
    finally:
        encoded.release()
    return outlined + [as_it_is(one) for one in finished_objects(sample, refine=options.refine)]


def _objects(proposals: list[Proposal], thresholds: Thresholds) -> list[dict[str, Any]]:
    masks = [to_rle(proposal.mask) for proposal in proposals]
    overlaps = iou_table(masks, masks)
    np.fill_diagonal(overlaps, 0.0)
    objects = []
    for proposal, mask, overlap in zip(proposals, masks, overlaps, strict=True):
        flags = flags_of(
            proposal.mask,
            score=proposal.score,
            box=proposal.known.box,
            box_iou=proposal.box_iou,
            overlap=float(overlap.max()),
            thresholds=thresholds,
        )
        rough = proposal.known.rough
        objects.append(
            {
                "category": proposal.known.category,
                "mask": mask if proposal.mask.any() else None,
                "known": "box" if rough is None else "mask",
                "known_box": to_bbox(proposal.known.box),
                "score": round(proposal.score, 6),
                "box_iou": round(proposal.box_iou, 6),
                "rough_iou": None if rough is None else round(pair_iou(mask, to_rle(rough)), 6),
                "prompt": proposal.prompt,
                "flags": [str(flag) for flag in flags],
            }
        )
    return objects


def proposals_document(lines: list[Line], proposed: Proposed) -> Document:
    """COCO instances of all images that have objects; ids count from 1 in their order."""
    ids = category_ids(item["category"] for line in lines for item in line["objects"])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        fields = ("name", "path", "sha256", "height", "width", "split", "bag")
        images.append(image_record(RoundImage(id=number, **{key: line[key] for key in fields})))
        for item in line["objects"]:
            rest = {k: v for k, v in item.items() if k not in ("category", "mask")}
            annotation = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": ids[item["category"]],
                **_outline_fields(item),
                **rest,
            }
            annotations.append(annotation)
    return {
        "info": {
            "description": "Proposed masks, to be reviewed",
            "model": proposed.model,
            "model_sha256": proposed.model_sha256,
        },
        "categories": category_records(ids),
        "images": images,
        "annotations": annotations,
    }


def _outline_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """COCO's fields; an empty proposal keeps its known box, so that tools show where to draw."""
    if item["mask"] is not None:
        return mask_fields(item["mask"]) | {"iscrowd": 0}
    return {"segmentation": [], "area": 0, "bbox": item["known_box"], "iscrowd": 0}


def problems_of(line: Line) -> list[Problem]:
    """The problems that a line records."""
    return [problem_of(values) for values in line["problems"]]
