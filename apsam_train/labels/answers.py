"""The categories that a segmenter answers, beside the true ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsam_serve.contract.segmenter import Segmentation, Segmenter
from apsam_train.categories import CLASSES
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.errors import ConfigError
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import Asking, answer


@dataclass(frozen=True, kw_only=True)
class Named:
    """One object under one prompt. category: as the data set calls it; truth: its label; answer:
    one of `categories.CLASSES`, by position, of this probability."""

    category: str
    truth: int
    answer: int
    probability: float


@dataclass(kw_only=True)
class Answers:
    """by_asking: every outlined object, in the data set's order; num_boxes: objects that were left
    out because only their box is known."""

    by_asking: dict[Asking, list[Named]]
    num_images: int = 0
    num_boxes: int = 0


def collect(
    segmenter: Segmenter,
    source: SampleSource,
    askings: Sequence[Asking],
    *,
    target: str,
    log: ProblemLog,
    on_image: Callable[[int], None] = lambda _done: None,
) -> Answers:
    """Ask for every object of every image in every way. Raises ConfigError when `target`, as the
    segmenter is called in messages, answers no categories or other ones than Table 7's."""
    answers = Answers(by_asking={asking: [] for asking in askings})
    for index, sample in usable_samples(source, log):
        answers.num_images += 1
        answers.num_boxes += len(sample.boxes)
        if sample.instances:
            encoded = segmenter.encode(sample.image)
            try:
                for asking in askings:
                    given = answer(
                        encoded, sample, PROTOCOLS[asking.protocol], seed=[asking.seed, index]
                    )
                    answers.by_asking[asking] += [
                        _named(one.category, source.label_of(one.category), segmentation, target)
                        for one, segmentation in zip(sample.instances, given, strict=True)
                    ]
            finally:
                encoded.release()
        on_image(index + 1)
    return answers


def no_head(target: str) -> ConfigError:
    """The error for a model whose answers have no category."""
    start = target if Path(target).suffix == ".safetensors" else "CHECKPOINT"
    return ConfigError(
        f"{target} has no category head, so it answers no categories; train one on its frozen "
        f"masks: apsam-train fit --start {start} --set trainable='\"category\"' "
        "--set category_weight=1.0"
    )


def _named(category: str, truth: int, given: Segmentation, target: str) -> Named:
    if given.category_probability is None:
        raise no_head(target)
    name = CLASSES[0] if given.category is None else given.category
    if name not in CLASSES:
        raise ConfigError(
            f"{target} answers the category {name!r}, which is none of the 30 of Table 7; give a "
            "model that was trained on these"
        )
    return Named(
        category=category,
        truth=truth,
        answer=CLASSES.index(name),
        probability=given.category_probability,
    )
