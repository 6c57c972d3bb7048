"""What strategies exchange with whoever decodes, and the driver that runs many in lockstep."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.categories import best_category
from apsam_serve.contract.masks import Mask, mask_from_logits
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt, Point, PointLabel
from apsam_serve.contract.segmenter import Segmentation


@dataclass(frozen=True, kw_only=True, eq=False)
class DecoderOutput:
    """The decoder's answer to one prompt: logits float32 [M, L, L], iou float32 [M] and, from a
    model with a category head, category_logits float32 [1 + num_categories]."""

    logits: NDArray[np.float32]
    iou: NDArray[np.float32]
    category_logits: NDArray[np.float32] | None = None

    @classmethod
    def split(
        cls,
        *,
        logits: NDArray[np.float32],
        iou: NDArray[np.float32],
        category_logits: NDArray[np.float32] | None,
    ) -> list[DecoderOutput]:
        """The answers of a batch: the fields with a first axis P."""
        categories = [None] * len(iou) if category_logits is None else category_logits
        return [
            cls(logits=m, iou=i, category_logits=c)
            for m, i, c in zip(logits, iou, categories, strict=True)
        ]

    def best(self) -> tuple[NDArray[np.float32], float]:
        """The mask with the highest predicted IoU (paper 4.1), and that IoU clipped to [0, 1]."""
        chosen = int(self.iou.argmax())
        return self.logits[chosen], float(self.iou[chosen].clip(0, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """logits: float32 [L, L] of the chosen mask, or None where a device kept them and made bits:
    uint8, numpy.packbits of the mask [H, W]; points: float32 [N, 2] in model pixels and labels [N]
    of the last decode, without padding; branch: see `Segmentation.branch`; category_logits: of the
    last decode, see `DecoderOutput`."""

    logits: NDArray[np.float32] | None
    score: float
    points: NDArray[np.float32]
    labels: NDArray[np.float32]
    branch: str
    category_logits: NDArray[np.float32] | None = None
    bits: NDArray[np.uint8] | None = None

    def mask(self, frame: LetterBox) -> Mask:
        """bool [H, W] in image pixels."""
        if self.logits is not None:
            return mask_from_logits(self.logits, frame)
        assert self.bits is not None
        num_pixels = frame.height * frame.width
        flat = np.unpackbits(self.bits, count=num_pixels).view(bool)
        return flat.reshape(frame.height, frame.width)

    def clicks(self, frame: LetterBox) -> tuple[Point, ...]:
        """The points of the last decode in image pixels; corners of a box are left out."""
        kept = np.isin(self.labels, (PointLabel.POSITIVE, PointLabel.NEGATIVE))
        return tuple(
            Point(x=float(x), y=float(y), positive=bool(label == PointLabel.POSITIVE))
            for (x, y), label in zip(
                frame.to_image(self.points[kept]), self.labels[kept], strict=True
            )
        )

    def category(self, names: Sequence[str]) -> tuple[str | None, float | None]:
        """Name of the object and its probability, see `Segmentation`. names: the model's."""
        if self.category_logits is None:
            return None, None
        return best_category(self.category_logits, names)

    def segmentation(
        self,
        frame: LetterBox,
        timings_s: Mapping[str, float],
        *,
        categories: Sequence[str] = (),
    ) -> Segmentation:
        """The answer in image pixels; its up-scaling is added to the timings as `mask`.

        categories: the model's names, see `ModelSpec`.
        """
        category, probability = self.category(categories)
        started = time.perf_counter()
        mask = self.mask(frame)
        return Segmentation(
            mask=mask,
            score=self.score,
            points=self.clicks(frame),
            branch=self.branch,
            category=category,
            category_probability=probability,
            low_res_logits=self.logits,
            timings_s={**timings_s, "mask": time.perf_counter() - started},
        )


Running = Generator[DecoderPrompt, DecoderOutput, Answer]
Decode = Callable[[Sequence[int], Sequence[DecoderPrompt]], Sequence[DecoderOutput]]
"""decode(which, prompts): `which[i]` is the position of prompts[i] among the strategies."""


def run(strategies: Sequence[Running], decode: Decode) -> tuple[list[Answer], dict[str, float]]:
    """Drive strategies to their answers, batching every round's prompts of equal length.

    Prompts of unequal length never share a batch: padding tokens take part in attention, and an
    answer must not depend on who else asked. Returns (answers, seconds by stage: decode_1, points,
    decode_2, ...).
    """
    answers: dict[int, Answer] = {}
    timings: dict[str, float] = defaultdict(float)
    sent: dict[int, DecoderOutput | None] = dict.fromkeys(range(len(strategies)))
    num_round = 0
    while sent:
        num_round += 1
        started = time.perf_counter()
        asked: dict[int, DecoderPrompt] = {}
        for index, output in sent.items():
            try:
                running = strategies[index]
                asked[index] = next(running) if output is None else running.send(output)
            except StopIteration as stop:
                answers[index] = stop.value
        timings["points"] += time.perf_counter() - started
        if asked:
            started = time.perf_counter()
            sent = dict(_decode_round(asked, decode))
            timings[f"decode_{num_round}"] = time.perf_counter() - started
        else:
            sent = {}
    return [answers[index] for index in range(len(strategies))], dict(timings)


def _decode_round(
    asked: dict[int, DecoderPrompt], decode: Decode
) -> list[tuple[int, DecoderOutput]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in asked.items():
        by_length[len(prompt.labels)].append(index)
    outputs: list[tuple[int, DecoderOutput]] = []
    for indices in by_length.values():
        decoded = decode(indices, [asked[index] for index in indices])
        outputs += zip(indices, decoded, strict=True)
    return outputs
