"""Every outlined object of a data set as a point in the category head's hidden layer.

The point is an average over several clicks inside the truth: one click may lie where two objects
overlap, and then part of what the head sees is the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_train.categories import LABELS, UNKNOWN
from apsam_train.data.boxes import mask_box
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.data.training import random_point
from apsam_train.errors import DatasetError
from apsam_train.labels.head import HeadReader

Mask = NDArray[np.bool_]
MakePrompts = Callable[[Mask, np.random.Generator], list[Prompt]]

_NUM_CLICKS = 5


def _clicks(mask: Mask, rng: np.random.Generator) -> list[Prompt]:
    return [Prompt.click(*random_point(mask, rng)) for _ in range(_NUM_CLICKS)]


def _box(mask: Mask, _rng: np.random.Generator) -> list[Prompt]:
    return [Prompt(box=mask_box(mask))]


def _both(mask: Mask, rng: np.random.Generator) -> list[Prompt]:
    clicks = [random_point(mask, rng) for _ in range(_NUM_CLICKS)]
    return [Prompt(points=(Point(x=x, y=y),), box=mask_box(mask)) for x, y in clicks]


WAYS: Mapping[str, MakePrompts] = {"clicks": _clicks, "box": _box, "both": _both}
"""Prompts for one object, whose hidden activations are averaged."""


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """Where an object is: sample by index, instance by number. category: its name in Table 7, or
    the data set's own outside it; bag: see `Sample`."""

    sample: int
    number: int
    image: str
    split: str
    bag: str
    category: str
    in_table_7: bool
    box: Box


def read_objects(
    reader: HeadReader,
    source: SampleSource,
    ways: Sequence[str],
    *,
    seed: int,
    log: ProblemLog,
    on_image: Callable[[int], None] = lambda _done: None,
) -> tuple[list[ObjectRef], dict[str, NDArray[np.float32]]]:
    """(objects, way -> features float32 [N, C]). Raises DatasetError without any object."""
    objects: list[ObjectRef] = []
    features: dict[str, list[NDArray[np.float32]]] = {way: [] for way in ways}
    for index, sample in usable_samples(source, log):
        if sample.instances:
            encoded = reader.encode(sample.image)
            for way in ways:
                asked = [
                    WAYS[way](one.mask, np.random.default_rng([seed, index, number]))
                    for number, one in enumerate(sample.instances)
                ]
                hidden = reader.read(encoded, [prompt for many in asked for prompt in many]).hidden
                features[way].append(hidden.reshape(len(asked), -1, hidden.shape[1]).mean(axis=1))
            encoded.release()
        for number, one in enumerate(sample.instances):
            label = source.label_of(one.category)
            objects.append(
                ObjectRef(
                    sample=index,
                    number=number,
                    image=sample.name,
                    split=sample.split,
                    bag=sample.bag or sample.name,
                    category=one.category if label == UNKNOWN else LABELS[label],
                    in_table_7=label != UNKNOWN,
                    box=mask_box(one.mask),
                )
            )
        on_image(index + 1)
    if not objects:
        raise DatasetError(
            f"{source.description} has no object with an outline; prompts are made from outlines"
        )
    return objects, {way: np.concatenate(parts) for way, parts in features.items()}
