"""Images and prompts through a runner: the lines that the service and the in-process segmenter
share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apsam_serve import prompting
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.manifest import ModelSpec, Precision
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderBatch, DecoderPrompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.contract.tensors import DTYPES
from apsam_serve.errors import ModelFaultError
from apsam_serve.prompting.base import Answer, DecoderOutput, run
from apsam_serve.runtime.base import Held, Runner


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """One encoded image. embedding: [C, G, G]; energy_query: [C]; in the type of the build."""

    embedding: Held
    energy_query: Held


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Prompts about one encoded image."""

    encoded: Encoded
    frame: LetterBox
    prompts: Sequence[DecoderPrompt]
    strategy: StrategyName = "apg"
    apg: ApgConfig


def encoded_bytes(model: ModelSpec, precision: Precision = "fp32") -> int:
    """What one Encoded takes, known before the image is."""
    floats = model.embed_dim * model.grid * model.grid + model.embed_dim
    return floats * np.dtype(DTYPES[precision]).itemsize


def encode_frames(runner: Runner, frames: Sequence[NDArray[np.uint8]]) -> list[Encoded]:
    """Encode letter-boxed frames uint8 [S, S, 3] in one batch."""
    batch = runner.encode(np.stack(frames))
    # A copy, because a view would keep the whole batch alive beyond the store's accounts.
    return [
        Encoded(embedding=embedding.copy(), energy_query=query.copy())
        for embedding, query in zip(batch.embedding, batch.energy_query, strict=True)
    ]


def answer(
    runner: Runner, questions: Sequence[Question]
) -> tuple[list[list[Answer]], dict[str, float]]:
    """Answer each question's prompts in shared batches. Returns (answers, seconds by stage)."""
    owner = [q for q, question in enumerate(questions) for _ in question.prompts]
    strategies = [
        prompting.load(question.strategy)(
            prompt, question.frame, replace(question.apg, core=runner.model.apg_core)
        )
        for question in questions
        for prompt in question.prompts
    ]

    def decode(which: Sequence[int], prompts: Sequence[DecoderPrompt]) -> list[DecoderOutput]:
        return _decode(runner, [questions[owner[index]].encoded for index in which], prompts)

    flat, timings = run(strategies, decode)
    answers: list[list[Answer]] = [[] for _ in questions]
    for q, one in zip(owner, flat, strict=True):
        answers[q].append(one)
    return answers, timings


def _decode(
    runner: Runner, images: Sequence[Encoded], prompts: Sequence[DecoderPrompt]
) -> list[DecoderOutput]:
    """Decode prompts of equal length, prompts[i] over images[i]; equal images are sent once."""
    unique = list({id(image): image for image in images}.values())
    position = {id(image): index for index, image in enumerate(unique)}
    batch = DecoderBatch.of(prompts, mask_side=runner.model.mask_side)
    decoded = runner.decode(
        embedding=_stacked([image.embedding for image in unique]),
        energy_query=_stacked([image.energy_query for image in unique]),
        image_index=np.array([position[id(image)] for image in images], np.int64),
        coords=batch.coords,
        labels=batch.labels,
        mask_input=batch.mask_input,
        has_mask_input=batch.has_mask_input,
    )
    for name, values in (
        ("IoU", decoded.iou),
        ("logits", decoded.logits),
        ("category logits", decoded.category_logits),
    ):
        if values is not None and not np.isfinite(values).all():
            raise ModelFaultError(
                f"the decoder answered {name} that are no numbers, for {len(prompts)} prompts; "
                "export the bundle again, or run it in a higher precision"
            )
    return DecoderOutput.split(
        logits=decoded.logits, iou=decoded.iou, category_logits=decoded.category_logits
    )


def _stacked(arrays: Sequence[Held]) -> Held:
    """Along a new first axis; a single one, which is every click that comes alone, uncopied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
