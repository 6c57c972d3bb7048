"""Ways of prompting a model for an object whose box or rough mask is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import MASK_STRIDE, LetterBox
from apsam_serve.contract.prompts import MAX_PROMPTS, Point, Prompt
from apsam_serve.contract.segmenter import EncodedImage, Segmentation, StrategyName
from apsam_train.annotate.known import KnownObject
from apsam_train.data.boxes import mask_box_iou
from apsam_train.data.training import coverage, random_point
from apsam_train.errors import ConfigError

MakePrompt = Callable[[KnownObject, np.random.Generator], Prompt]

_CERTAIN = 10.0
"""Logit of a cell that a rough mask covers wholly: as sure as SAM's own logits get."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a prompt is made, and the strategy that answers it."""

    make: MakePrompt
    strategy: StrategyName = "direct"


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """A model's mask, bool [H, W]. score: predicted IoU; box_iou: of the mask's box with the known
    one; prompt: the way that gave it, "none" for a mask that was there before."""

    known: KnownObject
    mask: NDArray[np.bool_]
    score: float
    box_iou: float
    prompt: str


def centre(known: KnownObject) -> Point:
    """The pixel deepest inside the rough mask, or the middle of the box."""
    if known.rough is None:
        box = known.box
        return Point(x=float((box.left + box.right) // 2), y=float((box.top + box.bottom) // 2))
    # One row and column of background around it: the image's border is an edge of the mask too.
    depth = cv2.distanceTransform(np.pad(known.rough, 1).astype(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return Point(x=float(column - 1), y=float(row - 1))


def _random(known: KnownObject, rng: np.random.Generator) -> Prompt:
    if known.rough is None:
        box, (u, v) = known.box, rng.uniform(0.25, 0.75, 2)
        x, y = box.left + u * (box.right - box.left), box.top + v * (box.bottom - box.top)
        return Prompt.click(float(int(x)), float(int(y)))
    return Prompt.click(*random_point(known.rough, rng))


WAYS: Mapping[str, Way] = {
    "box": Way(make=lambda known, _rng: Prompt(box=known.box)),
    "box+center": Way(make=lambda known, _rng: Prompt(box=known.box, points=(centre(known),))),
    "center": Way(make=lambda known, _rng: Prompt(points=(centre(known),))),
    "apg": Way(make=lambda known, _rng: Prompt(points=(centre(known),)), strategy="apg"),
    "random": Way(make=_random),
}
AUTO = ("box", "box+center", "center", "apg")
"""What "auto" tries: a model that was trained on points alone does not understand boxes."""
CHOICES = ("auto", *WAYS, "mask")


def check_choice(prompt: str, *, refine: bool) -> None:
    """Raise ConfigError for a prompt that does not exist or cannot be made."""
    if prompt not in CHOICES:
        raise ConfigError(f"--prompt {prompt!r} is unknown; choose one of {', '.join(CHOICES)}")
    if prompt == "mask" and not refine:
        raise ConfigError("--prompt mask needs masks to start from; add --refine")


def outline(
    encoded: EncodedImage, known: Sequence[KnownObject], *, prompt: str, seed: Sequence[int]
) -> list[Proposal]:
    """One mask for every object, in order. prompt: of `CHOICES`; "auto" keeps the mask whose box
    agrees best with the known one, the higher score where two agree equally.

    Raises ConfigError for "mask" with a segmenter that keeps its logits to itself.
    """
    ways = AUTO if prompt == "auto" else (prompt,)
    answers = [_answers(encoded, known, way, seed) for way in ways]
    rivals = zip(*answers, strict=True)
    return [max(several, key=lambda one: (one.box_iou, one.score)) for several in rivals]


def as_it_is(known: KnownObject) -> Proposal:
    """The mask that an object has already."""
    assert known.rough is not None
    return Proposal(known=known, mask=known.rough, score=1.0, box_iou=1.0, prompt="none")


def _answers(
    encoded: EncodedImage, known: Sequence[KnownObject], way: str, seed: Sequence[int]
) -> list[Proposal]:
    if way == "mask":
        prompts, strategy = _from_masks(encoded, known), WAYS["box"].strategy
    else:
        make, strategy = WAYS[way].make, WAYS[way].strategy
        prompts = [make(one, np.random.default_rng([*seed, i])) for i, one in enumerate(known)]
    answers: list[Segmentation] = []
    for first in range(0, len(prompts), MAX_PROMPTS):
        answers += encoded.segment(prompts[first : first + MAX_PROMPTS], strategy=strategy)
    return [
        Proposal(
            known=one,
            mask=answer.mask,
            score=float(answer.score),
            box_iou=mask_box_iou(answer.mask, one.box),
            prompt=way,
        )
        for one, answer in zip(known, answers, strict=True)
    ]


def _from_masks(encoded: EncodedImage, known: Sequence[KnownObject]) -> list[Prompt]:
    """Every box with its rough mask as low-resolution logits, objects without one by box alone."""
    rough = [one for one in known if one.rough is not None]
    if not rough:
        return [Prompt(box=one.box) for one in known]
    (probe,) = encoded.segment([Prompt(box=rough[0].box)], strategy="direct")
    if probe.low_res_logits is None:
        raise ConfigError(
            "--prompt mask needs low-resolution logits, which a server keeps; give its checkpoint "
            "or bundle, or another --prompt"
        )
    side = probe.low_res_logits.shape[0] * MASK_STRIDE
    frame = LetterBox.fit(height=encoded.height, width=encoded.width, side=side)

    def logits(mask: NDArray[np.bool_] | None) -> NDArray[np.float32] | None:
        return None if mask is None else (2 * coverage(mask, frame) - 1) * np.float32(_CERTAIN)

    return [Prompt(box=one.box, mask_logits=logits(one.rough)) for one in known]
