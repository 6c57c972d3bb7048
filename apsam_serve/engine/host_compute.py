"""Images and questions through any runner, with NumPy between its graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve import prompting
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.prompts import DecoderBatch, DecoderPrompt
from apsam_serve.engine.compute import Encoded, Question, encoded_bytes, require_numbers
from apsam_serve.engine.replies import Timings
from apsam_serve.prompting.base import Answer, DecoderOutput, run
from apsam_serve.runtime.base import Floats, Held, Runner


@dataclass(frozen=True, kw_only=True, eq=False)
class HostEncoded:
    """embedding: [C, G, G] and energy_query: [C], in the type of the build; attention: float32
    [S / 8, S / 8]; masks: float32 [num_masks, L, L]."""

    embedding: Held
    energy_query: Held
    attention: Floats
    masks: Floats


class HostCompute:
    """Implements `compute.Compute` over an open runner. num_masks: planes per image."""

    def __init__(self, runner: Runner, *, num_masks: int = 0) -> None:
        self._runner = runner
        self._num_masks = num_masks

    @property
    def held_bytes(self) -> int:
        model, precision = self._runner.model, self._runner.build.precision
        return encoded_bytes(model, precision, num_masks=self._num_masks)

    @property
    def warm_prompts(self) -> Sequence[int]:
        return (1,)

    def encode(self, pixels: Sequence[Pixels]) -> tuple[list[Encoded], Timings]:
        images = _stacked([one.image for one in pixels])
        plain = all(one.energy is one.image for one in pixels)
        energy = None if plain else _stacked([one.energy for one in pixels])
        batch = self._runner.encode(images, energy)
        side = self._runner.model.mask_side
        require_numbers("attention", batch.attention, 0)
        # Copies, because views would keep the whole batch alive beyond the store's accounts.
        encoded: list[Encoded] = [
            HostEncoded(
                embedding=embedding.copy(),
                energy_query=query.copy(),
                attention=attention.copy(),
                masks=np.empty((self._num_masks, side, side), np.float32),
            )
            for embedding, query, attention in zip(
                batch.embedding, batch.energy_query, batch.attention, strict=True
            )
        ]
        return encoded, batch.timings_s

    def answer(self, questions: Sequence[Question]) -> tuple[list[list[Answer]], Timings]:
        core = self._runner.model.apg_core
        encoded: list[HostEncoded] = []
        strategies = []
        for question in questions:
            image = _host(question.encoded)
            strategy = prompting.load(question.strategy)
            config = replace(question.apg, core=core)
            for prompt, plane in zip(question.prompts, question.refine, strict=True):
                started = (
                    prompt if plane is None else replace(prompt, mask_logits=image.masks[plane])
                )
                strategies.append(strategy(started, question.frame, config))
                encoded.append(image)

        def decode(which: Sequence[int], prompts: Sequence[DecoderPrompt]) -> list[DecoderOutput]:
            return self._decode([encoded[index] for index in which], prompts)

        flat, timings = run(strategies, decode)
        answers = iter(flat)
        grouped = [[next(answers) for _ in question.prompts] for question in questions]
        for question, group in zip(questions, grouped, strict=True):
            _keep(question, group)
        return grouped, timings

    def forget(self, encoded: Encoded) -> None:
        """Nothing to do: the memory goes with the object."""

    def close(self) -> None:
        """Nothing to do."""

    def _decode(
        self, images: Sequence[HostEncoded], prompts: Sequence[DecoderPrompt]
    ) -> list[DecoderOutput]:
        """Decode prompts of equal length, prompts[i] over images[i]; equal images are sent once."""
        unique = list({id(image): image for image in images}.values())
        position = {id(image): index for index, image in enumerate(unique)}
        batch = DecoderBatch.of(prompts, mask_side=self._runner.model.mask_side)
        decoded = self._runner.decode(
            embedding=_stacked([image.embedding for image in unique]),
            energy_query=_stacked([image.energy_query for image in unique]),
            image_index=np.array([position[id(image)] for image in images], np.int64),
            coords=batch.coords,
            labels=batch.labels,
            mask_input=batch.mask_input,
            has_mask_input=batch.has_mask_input,
        )
        for what, values in (
            ("IoU", decoded.iou),
            ("logits", decoded.logits),
            ("category logits", decoded.category_logits),
        ):
            require_numbers(what, values, len(prompts))
        return DecoderOutput.split(
            logits=decoded.logits, iou=decoded.iou, category_logits=decoded.category_logits
        )


def _keep(question: Question, answers: Sequence[Answer]) -> None:
    masks = _host(question.encoded).masks
    for plane, answer in zip(question.keep, answers, strict=True):
        if plane is not None:
            assert answer.logits is not None
            masks[plane] = answer.logits


def _host(encoded: Encoded) -> HostEncoded:
    assert isinstance(encoded, HostEncoded), type(encoded)
    return encoded


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Along a new first axis; a single one, which is every click that comes alone, uncopied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
