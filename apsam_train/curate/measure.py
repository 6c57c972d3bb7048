"""What one image is, from one look at its pixels; runs in the worker processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.curate.phash import perceptual_hash, to_hex
from apsam_train.curate.record import Record
from apsam_train.data.boxes import to_bbox
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.entry import Entry
from apsam_train.data.problems import Problem, UnusableSampleError
from apsam_train.data.rle import mask_fields, to_rle
from apsam_train.data.sample import BoxedObject, Instance, Sample
from apsam_train.files import sha256_of

VERSION = 1
"""Of what is measured; another one makes earlier measurements stale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One image to measure."""

    source: str
    format: str
    root: Path
    entry: Entry


def measure(job: Job) -> str:
    """One line of the index: {"record": ..., "objects": [...], "problems": [...]}.

    An object is {"category", "bbox", "area"} and, where it has a mask, {"segmentation"} as
    compressed COCO RLE. An image that cannot be used is a record that is dropped.
    """
    entry = job.entry
    record = Record(
        source=job.source,
        name=entry.name,
        image=str(entry.image.absolute()),
        split=entry.split,
        bag=entry.bag or entry.name,
    )
    try:
        sample = ImageDataset([entry], root=job.root, format=job.format)[0]
    except UnusableSampleError as error:
        record = replace(record, dropped=str(error.problem.kind))
        return _line(record, [], [error.problem])
    # cached by the system since the sample was read a moment ago
    sha256 = sha256_of(entry.image)
    objects = [_with_mask(item) for item in sample.instances]
    height, width = sample.image.shape[:2]
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    record = replace(
        record,
        width=width,
        height=height,
        laplacian=round(laplacian_variance(grey), 4),
        phash=to_hex(perceptual_hash(grey)),
        sha256=sha256,
        categories=_categories(sample),
        mask_shares=tuple(round(item["area"] / (height * width), 6) for item in objects),
    )
    return _line(record, [*objects, *map(_with_box, sample.boxes)], sample.problems)


def laplacian_variance(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of grey [H, W]: high for noise as for sharp edges.

    The 4-neighbour kernel in 16-bit integers is exact, as in float64, and faster.
    """
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S, ksize=1))
    return float(deviation[0, 0]) ** 2


def one_thread() -> None:
    """Starts a worker process: the processes are the parallelism."""
    cv2.setNumThreads(1)


def _line(record: Record, objects: list[dict[str, Any]], problems: Iterable[Problem]) -> str:
    found = [asdict(problem) for problem in problems]
    return json.dumps({"record": record.to_json(), "objects": objects, "problems": found}) + "\n"


def _categories(sample: Sample) -> tuple[str, ...]:
    masks = [item.category for item in sample.instances]
    return tuple(sorted(masks + [item.category for item in sample.boxes]))


def _with_mask(item: Instance) -> dict[str, Any]:
    return {
        "category": item.category,
        **mask_fields(to_rle(item.mask)),
        **({} if item.overlap is None else {"overlap": item.overlap}),
    }


def _with_box(item: BoxedObject) -> dict[str, Any]:
    bbox = to_bbox(item.box)
    return {"category": item.category, "bbox": bbox, "area": bbox[2] * bbox[3]}
