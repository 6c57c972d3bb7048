"""What a comparison compares: heads that differ in their labels alone, and their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apsam_train.categories import (
    CLASSES,
    MEMBERSHIP,
    SUPERCLASSES,
    UNKNOWN,
    superclass_label,
)
from apsam_train.config import TrainConfig
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.errors import DatasetError
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.labels.head import HeadReader

_PROMPT_SEED = 0
"""Prompts are the same for all heads: differences are the heads'."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the two kinds of heads."""

    name: Literal["fine", "coarse"]
    title: str

    def config(self, base: TrainConfig, *, seed: int) -> TrainConfig:
        """The training of this arm's head; everything else is equal over arms."""
        return replace(
            base,
            seed=seed,
            trainable="category",
            category_weight=base.category_weight or 1.0,
            category_labels=self.name,
        )


ARMS = (
    Arm(name="fine", title="fine labels"),
    Arm(name="coarse", title="coarse labels"),
)


def measure(
    reader: HeadReader,
    source: SampleSource,
    *,
    protocol: str,
    log: ProblemLog,
    on_image: Callable[[int], None] = lambda _done: None,
) -> dict[str, Any]:
    """`head_figures` of every object whose label is known. Raises DatasetError without any."""
    make = PROTOCOLS[protocol].make
    labels: list[int] = []
    logits: list[NDArray[np.float32]] = []
    for index, sample in usable_samples(source, log):
        known = [
            (number, one, source.label_of(one.category))
            for number, one in enumerate(sample.instances)
            if source.label_of(one.category) != UNKNOWN
        ]
        if known:
            prompts = [
                make(one.mask, np.random.default_rng([_PROMPT_SEED, index, number]))
                for number, one, _ in known
            ]
            encoded = reader.encode(sample.image)
            logits.append(reader.read(encoded, prompts).logits)
            encoded.release()
            labels += [label for _, _, label in known]
        on_image(index + 1)
    if not labels:
        raise DatasetError(
            f"{source.description}: no object has a category of Table 7, so no head can be scored "
            "on it; give its names a place with `apsam-train curate --category-map`"
        )
    return head_figures(np.array(labels), np.concatenate(logits))


def head_figures(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, Any]:
    """labels [P] of `categories.LABELS`, logits [P, 31] -> shares from 0 to 1, None where nothing
    could count.

    A superclass is answered by the sum of its categories' probabilities, none being one more
    superclass: a head that was told superclasses only spreads each one's probability over its
    categories as it pleases, and the largest category would speak against it.
    """
    first = len(CLASSES)
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    sums = np.concatenate([probability[:, :1], probability @ np.array(MEMBERSHIP).T], axis=1)
    truth = np.array([superclass_label(int(label)) - first for label in labels])
    right = sums.argmax(axis=1) - 1 == truth
    fine = labels < first
    named = logits[fine].argmax(axis=1) == labels[fine]
    return {
        "num_objects": len(labels),
        "num_fine": int(fine.sum()),
        "superclass": float(right.mean()),
        "category": float(named.mean()) if fine.any() else None,
        "by_superclass": {
            name: {
                "num_objects": int((truth == number).sum()),
                "superclass": float(right[truth == number].mean()),
            }
            for number, name in enumerate(SUPERCLASSES)
            if (truth == number).any()
        },
    }
