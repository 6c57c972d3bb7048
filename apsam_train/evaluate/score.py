"""IoU, Dice and boundary IoU of a segmenter on a data set (paper 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import dice, mask_iou
from apsam_serve.contract.prompts import MAX_PROMPTS, Point
from apsam_serve.contract.segmenter import EncodedImage, Segmentation, Segmenter
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample, SampleSource
from apsam_train.evaluate.boundary import boundary_iou
from apsam_train.evaluate.protocols import PROTOCOLS, Protocol


@dataclass(frozen=True, kw_only=True)
class InstanceScore:
    """One object under one prompt. area: pixels of the truth mask; overlap: see `Instance`;
    points_on: share of the last decode's points that lie on the truth, 1 where there are none."""

    image: str
    category: str
    area: int
    overlap: float | None
    iou: float
    dice: float
    boundary_iou: float
    points_on: float


@dataclass(frozen=True, kw_only=True)
class Asking:
    """One protocol with one seed. The same (seed, image, object) gives the same prompt, whatever
    is scored."""

    protocol: str
    seed: int


def score(
    segmenter: Segmenter,
    source: SampleSource,
    askings: Sequence[Asking],
    *,
    log: ProblemLog | None = None,
    on_image: Callable[[int], None] = lambda _done: None,
) -> dict[Asking, list[InstanceScore]]:
    """Prompt every object of every image in every way; an image is encoded once.

    log: takes the samples that cannot be used; on_image: called with the number of images done.
    """
    scores: dict[Asking, list[InstanceScore]] = {asking: [] for asking in askings}
    for index, sample in usable_samples(source, ProblemLog() if log is None else log):
        if sample.instances:
            encoded = segmenter.encode(sample.image)
            try:
                for asking in askings:
                    seed = [asking.seed, index]
                    answers = answer(encoded, sample, PROTOCOLS[asking.protocol], seed=seed)
                    scores[asking] += _scores(sample, answers)
            finally:
                encoded.release()
        on_image(index + 1)
    return scores


def answer(
    encoded: EncodedImage, sample: Sample, protocol: Protocol, *, seed: Sequence[int]
) -> list[Segmentation]:
    """Prompt every object of an image, in order, at most `MAX_PROMPTS` at a time."""
    prompts = [
        protocol.make(instance.mask, np.random.default_rng([*seed, number]))
        for number, instance in enumerate(sample.instances)
    ]
    answers: list[Segmentation] = []
    for first in range(0, len(prompts), MAX_PROMPTS):
        part = prompts[first : first + MAX_PROMPTS]
        answers += encoded.segment(part, strategy=protocol.strategy)
    return answers


def _scores(sample: Sample, answers: Sequence[Segmentation]) -> list[InstanceScore]:
    return [
        InstanceScore(
            image=sample.name,
            category=instance.category,
            area=int(instance.mask.sum()),
            overlap=instance.overlap,
            iou=mask_iou(one.mask, instance.mask),
            dice=dice(one.mask, instance.mask),
            boundary_iou=boundary_iou(one.mask, instance.mask),
            points_on=_points_on(one.points, instance.mask),
        )
        for instance, one in zip(sample.instances, answers, strict=True)
    ]


def _points_on(points: Sequence[Point], truth: NDArray[np.bool_]) -> float:
    height, width = truth.shape
    # Adaptive points are cell centres: the last one may round up to the image's far edge.
    hits = [truth[min(int(p.y), height - 1), min(int(p.x), width - 1)] for p in points]
    return float(np.mean(hits)) if hits else 1.0
