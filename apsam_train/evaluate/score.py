"""mIoU and Dice of a segmenter on a data set (paper 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from apsam_serve.contract.masks import dice, mask_iou
from apsam_serve.contract.segmenter import Segmenter
from apsam_train.data.sample import Sample, SampleSource
from apsam_train.evaluate.protocols import Protocol


@dataclass(frozen=True, kw_only=True)
class InstanceScore:
    """One object under one prompt. area: pixels of the truth mask."""

    image: str
    category: str
    area: int
    overlap: float | None
    iou: float
    dice: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over instances (the headline) and over images."""

    miou: float
    dice: float
    miou_by_image: float
    dice_by_image: float
    num_instances: int
    num_images: int


def score(
    segmenter: Segmenter,
    source: SampleSource,
    protocol: Protocol,
    *,
    seed: int,
    on_image: Callable[[int], None] = lambda _done: None,
) -> list[InstanceScore]:
    """Prompt every object of every image. The same (seed, image, object) gives the same prompt,
    whatever is scored. on_image: called with the number of images done."""
    scores: list[InstanceScore] = []
    for index in range(len(source)):
        scores += _score_image(segmenter, source[index], protocol, seed=[seed, index])
        on_image(index + 1)
    return scores


def summarise(scores: Iterable[InstanceScore]) -> Summary:
    """Average scores; zeros when there are none."""
    scores = list(scores)
    images: dict[str, list[InstanceScore]] = {}
    for one in scores:
        images.setdefault(one.image, []).append(one)

    def by_image(value: Callable[[InstanceScore], float]) -> float:
        return _mean([_mean([value(s) for s in group]) for group in images.values()])

    return Summary(
        miou=_mean([s.iou for s in scores]),
        dice=_mean([s.dice for s in scores]),
        miou_by_image=by_image(lambda s: s.iou),
        dice_by_image=by_image(lambda s: s.dice),
        num_instances=len(scores),
        num_images=len(images),
    )


def _score_image(
    segmenter: Segmenter, sample: Sample, protocol: Protocol, *, seed: list[int]
) -> list[InstanceScore]:
    if not sample.instances:
        return []
    prompts = [
        protocol.make(instance.mask, np.random.default_rng([*seed, number]))
        for number, instance in enumerate(sample.instances)
    ]
    encoded = segmenter.encode(sample.image)
    try:
        answers = encoded.segment(prompts, strategy=protocol.strategy)
    finally:
        encoded.release()
    scores = []
    for instance, answer in zip(sample.instances, answers, strict=True):
        scores.append(
            InstanceScore(
                image=sample.name,
                category=instance.category,
                area=int(instance.mask.sum()),
                overlap=instance.overlap,
                iou=mask_iou(answer.mask, instance.mask),
                dice=dice(answer.mask, instance.mask),
            )
        )
    return scores


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
