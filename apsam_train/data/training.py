"""From samples to training batches. Every random choice follows from (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from apsam_serve.contract.preprocess import MASK_STRIDE, LetterBox, letterbox
from apsam_train.data.augment import random_view
from apsam_train.data.sample import Sample, SampleSource

Draw = tuple[int, int, int]
"""(epoch, position in the epoch, index of the sample)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingItem:
    """image: uint8 [S, S, 3]; target: float32 [K, L, L], share of each cell the object covers;
    clicks: float32 [K, 2] in model pixels, on the object; valid_cells: int64 [2]."""

    image: Tensor
    target: Tensor
    clicks: Tensor
    valid_cells: Tensor


class EpochSampler(Sampler[Draw]):
    """The same order for the same seed, from any step on: a resumed run sees what it would have."""

    def __init__(self, *, num_samples: int, batch_size: int, seed: int, first_step: int) -> None:
        self._num_samples = num_samples
        self._seed = seed
        self._first_draw = first_step * batch_size

    def __iter__(self) -> Iterator[Draw]:
        epoch, position = divmod(self._first_draw, self._num_samples)
        while True:
            order = np.random.default_rng([self._seed, epoch]).permutation(self._num_samples)
            for place in range(position, self._num_samples):
                yield epoch, place, int(order[place])
            epoch, position = epoch + 1, 0


class TrainingSet(Dataset[TrainingItem]):
    """Augmented, letter-boxed views with `num_prompts` objects and one random click on each."""

    def __init__(
        self, source: SampleSource, *, side: int, num_prompts: int, augment: bool, seed: int
    ) -> None:
        self._source = source
        self._side = side
        self._num_prompts = num_prompts
        self._augment = augment
        self._seed = seed

    def __getitem__(self, draw: Draw) -> TrainingItem:
        epoch, position, index = draw
        rng = np.random.default_rng([self._seed, epoch, position])
        sample = self._with_objects(index)
        if self._augment:
            sample = random_view(sample, rng)
        image, frame = letterbox(np.ascontiguousarray(sample.image), side=self._side)
        chosen = _choose(len(sample.instances), self._num_prompts, rng)
        masks = [sample.instances[i].mask for i in chosen]
        clicks = np.array([random_point(mask, rng) for mask in masks])
        return TrainingItem(
            image=torch.from_numpy(image),
            target=torch.from_numpy(np.stack([coverage(mask, frame) for mask in masks])),
            clicks=torch.from_numpy(frame.to_model(clicks)),
            valid_cells=torch.tensor(frame.valid_cells),
        )

    def _with_objects(self, index: int) -> Sample:
        """The sample, or the next one that has objects."""
        for offset in range(len(self._source)):
            sample = self._source[(index + offset) % len(self._source)]
            if sample.instances:
                return sample
        raise ValueError(f"{self._source.description} has no object at all; nothing to train on")


def collate(items: list[TrainingItem]) -> TrainingItem:
    """Stack: image [B, S, S, 3], target [B, K, L, L], clicks [B, K, 2], valid_cells [B, 2]."""
    return TrainingItem(
        image=torch.stack([item.image for item in items]),
        target=torch.stack([item.target for item in items]),
        clicks=torch.stack([item.clicks for item in items]),
        valid_cells=torch.stack([item.valid_cells for item in items]),
    )


def coverage(mask: NDArray[np.bool_], frame: LetterBox) -> NDArray[np.float32]:
    """Share of each low-resolution cell that a mask bool [H, W] covers: float32 [L, L]."""
    size = (frame.model_width, frame.model_height)
    full = np.zeros((frame.side, frame.side), np.float32)
    full[: frame.model_height, : frame.model_width] = cv2.resize(
        mask.astype(np.float32), size, interpolation=cv2.INTER_AREA
    )
    blocks = full.reshape(frame.mask_side, MASK_STRIDE, frame.mask_side, MASK_STRIDE)
    shares: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return shares


def random_point(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """A uniformly random pixel (x, y) of a mask bool [H, W] that is not empty."""
    pixels = np.flatnonzero(mask)
    y, x = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
    return float(x), float(y)


def _choose(available: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """`wanted` indices, every object before any object twice."""
    rounds = [rng.permutation(available) for _ in range(-(-wanted // available))]
    return [int(i) for i in np.concatenate(rounds)[:wanted]]
