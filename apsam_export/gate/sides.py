"""The two sides of a comparison behind one protocol: whatever encodes and decodes, in float32."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.prompts import DecoderBatch, DecoderPrompt
from apsam_serve.prompting.base import DecoderOutput
from apsam_serve.runtime.base import Runner

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]
"""Outputs of both encoders for one image, by name, without the batch axis."""
TOGETHER = 2
"""Images of one decode: enough to see an image_index that is not obeyed."""


class Side(Protocol):
    """A model that answers frames and prompts."""

    @property
    def model(self) -> ModelSpec:
        """Its shapes."""
        ...

    def encode(self, frame: NDArray[np.uint8]) -> Tensors:
        """Outputs of both encoders for a frame uint8 [S, S, 3]."""
        ...

    def decode(
        self, encoded: Sequence[Tensors], image_index: NDArray[np.int64], batch: DecoderBatch
    ) -> list[DecoderOutput]:
        """The answers to P prompts over B images, image_index int64 [P] saying whose each is."""
        ...


class RunnerSide:
    """An open runner. What it holds of an image in half precision is compared as float32."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._held: np.dtype[Any] = np.dtype(np.float32)

    @property
    def model(self) -> ModelSpec:
        return self._runner.model

    def encode(self, frame: NDArray[np.uint8]) -> Tensors:
        """To be called before `decode`, which hands embeddings over in the type found here."""
        batch = self._runner.encode(frame[None])
        self._held = batch.embedding.dtype
        return {
            "embedding": batch.embedding[0].astype(np.float32),
            "energy_query": batch.energy_query[0].astype(np.float32),
            "attention": batch.attention[0].astype(np.float32),
        }

    def decode(
        self, encoded: Sequence[Tensors], image_index: NDArray[np.int64], batch: DecoderBatch
    ) -> list[DecoderOutput]:
        decoded = self._runner.decode(
            embedding=self._stacked(encoded, "embedding"),
            energy_query=self._stacked(encoded, "energy_query"),
            image_index=image_index,
            coords=batch.coords,
            labels=batch.labels,
            mask_input=batch.mask_input,
            has_mask_input=batch.has_mask_input,
        )
        return DecoderOutput.split(
            logits=decoded.logits, iou=decoded.iou, category_logits=decoded.category_logits
        )

    def _stacked(self, encoded: Sequence[Tensors], name: str) -> NDArray[Any]:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and fails as such
            return np.stack([tensors[name] for tensors in encoded]).astype(self._held)


def decode_all(
    side: Side, encoded: Sequence[Tensors], prompts: Sequence[Sequence[DecoderPrompt]]
) -> list[list[DecoderOutput]]:
    """Answer prompts[i] over encoded[i], images by twos and prompts of equal length together."""
    answers: list[list[DecoderOutput]] = []
    for first in range(0, len(encoded), TOGETHER):
        images = slice(first, first + TOGETHER)
        answers += _decode_together(side, encoded[images], prompts[images])
    return answers


def _decode_together(
    side: Side, encoded: Sequence[Tensors], prompts: Sequence[Sequence[DecoderPrompt]]
) -> list[list[DecoderOutput]]:
    by_length: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for image, asked in enumerate(prompts):
        for place, prompt in enumerate(asked):
            by_length[len(prompt.labels)].append((image, place))
    found: dict[tuple[int, int], DecoderOutput] = {}
    for places in by_length.values():
        batch = DecoderBatch.of([prompts[i][j] for i, j in places], mask_side=side.model.mask_side)
        index = np.array([image for image, _ in places], np.int64)
        found |= zip(places, side.decode(encoded, index, batch), strict=True)
    return [[found[i, j] for j in range(len(asked))] for i, asked in enumerate(prompts)]
