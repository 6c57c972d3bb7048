"""The double: a tiny deterministic computation with the shapes of a real model.

It answers a click with a disc around it, cut by negative points and by the box. The disc grows with
the brightness range of what the energy encoder saw, so an answer computed from another image's
embedding is wrong in a visible way; a click on white background (air) gives an empty mask. The
darker the first positive point, the higher the number of its category; air and boxes alone are no
contraband. No graph is opened.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Build, Bundle, Gate, ModelSpec
from apsam_serve.contract.prompts import PointLabel
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions

_AIR = 0.99
_FAR = np.float32(1e4)
_BUILD = Build(
    form="onnx",
    precision="fp32",
    graphs={},
    gate=Gate(passed=True, detail="a double runs no graph"),
)
_CERTAINTY = 5.0
"""Logit of the class that is meant; the others' are 0."""


def create(bundle: Bundle, options: RunnerOptions) -> FakeRunner:
    """A double with the shapes of the bundle's model."""
    return FakeRunner(bundle.manifest.model)


class FakeRunner:
    """Implements `runtime.base.Runner`."""

    def __init__(self, model: ModelSpec) -> None:
        self._model = model

    @property
    def model(self) -> ModelSpec:
        return self._model

    @property
    def build(self) -> Build:
        return _BUILD

    @property
    def device(self) -> None:
        """None: it has no memory of its own."""

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        """Channel 0 of the embedding is the token's brightness; query 0 is the brightness range of
        `energy`, attention its darkness."""
        started = time.perf_counter()
        model = self._model
        batch = len(images)
        embedding = np.zeros((batch, model.embed_dim, model.grid, model.grid), np.float32)
        embedding[:, 0] = _pooled(_brightness(images), model.token_stride)
        between = time.perf_counter()
        seen = _brightness(images if energy is None else energy)
        query = np.zeros((batch, model.embed_dim), np.float32)
        query[:, 0] = np.ptp(seen, axis=(1, 2))
        attention = 1 - _pooled(seen, model.energy_stride)
        ended = time.perf_counter()
        return EncodedBatch(
            embedding=embedding,
            energy_query=query,
            attention=attention,
            timings_s={"encode": between - started, "energy": ended - between},
        )

    def decode(
        self,
        *,
        embedding: Held,
        energy_query: Held,
        image_index: NDArray[np.int64],
        coords: Floats,
        labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
    ) -> DecodedBatch:
        model = self._model
        logits = np.empty((len(coords), model.num_masks, model.mask_side, model.mask_side))
        for prompt, image in enumerate(image_index):
            radius = model.side * 0.12 * (1 + energy_query[image, 0])
            tokens = embedding[image, 0]
            refined = mask_input[prompt, 0] * has_mask_input[prompt]
            for mask in range(model.num_masks):
                shape = self._shape(coords[prompt], labels[prompt], tokens, radius + 2 * mask)
                logits[prompt, mask] = shape + refined
        iou = np.full((len(coords), model.num_masks), 0.5)
        iou[:, -1] = 0.75 + 0.2 * embedding[image_index, 0].mean(axis=(1, 2))
        tokens = embedding[image_index, 0]
        return DecodedBatch(
            logits=logits.astype(np.float32),
            iou=iou.astype(np.float32),
            category_logits=self._categories(coords, labels, tokens) if model.categories else None,
        )

    def _categories(self, coords: Floats, labels: Floats, brightness: Floats) -> Floats:
        """Logits [P, 1 + num_categories] for tokens' brightness [P, G, G]."""
        logits = np.zeros((len(coords), 1 + self._model.num_categories), np.float32)
        for prompt, positive in enumerate(labels == PointLabel.POSITIVE):
            clicks = coords[prompt][positive]
            seen = self._seen(clicks[0], brightness[prompt]) if len(clicks) else 1.0
            darkness = max(0.0, 1 - seen / _AIR)
            logits[prompt, math.ceil(darkness * self._model.num_categories)] = _CERTAINTY
        return logits

    def _seen(self, point: Floats, brightness: Floats) -> float:
        """Brightness [G, G] of the token under a point (x, y) in model pixels."""
        token = np.clip(point[::-1], 0, self._model.side - 1).astype(int)
        return float(brightness[tuple(token // self._model.token_stride)])

    def _shape(self, coords: Floats, labels: Floats, brightness: Floats, radius: float) -> Floats:
        """Signed distance [L, L] in model pixels, positive inside."""
        model = self._model
        centre = (
            np.arange(model.mask_side, dtype=np.float32) + np.float32(0.5)
        ) * model.mask_stride
        inside = np.full((model.mask_side, model.mask_side), -_FAR)
        cut = np.full_like(inside, _FAR)
        for point, label in zip(coords, labels, strict=True):
            distance = np.hypot(centre[None, :] - point[0], centre[:, None] - point[1])
            if label == PointLabel.POSITIVE and self._seen(point, brightness) < _AIR:
                inside = np.maximum(inside, np.float32(radius) - distance)
            if label == PointLabel.NEGATIVE:
                cut = np.minimum(cut, distance - np.float32(radius / 2))
        box = np.isin(labels, (PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT))
        if box.any():
            (left, top), (right, bottom) = coords[box]
            x, y = centre[None, :], centre[:, None]
            rectangle = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
            clicked = (labels == PointLabel.POSITIVE).any()
            inside = np.minimum(inside, rectangle) if clicked else rectangle
        return np.minimum(inside, cut)


def _brightness(images: NDArray[np.uint8]) -> Floats:
    """Mean of the channels in 0..1: [B, S, S, 3] -> [B, S, S]."""
    brightness: Floats = images.mean(axis=3, dtype=np.float32) / np.float32(255)
    return brightness


def _pooled(image: Floats, stride: int) -> Floats:
    """Mean over stride x stride cells: [B, S, S] -> [B, S / stride, S / stride]."""
    batch, side, _ = image.shape
    cells = side // stride
    pooled: Floats = image.reshape(batch, cells, stride, cells, stride).mean(axis=(2, 4))
    return pooled
