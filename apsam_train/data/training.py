"""From samples to training batches. Every random choice follows from (seed, epoch, position)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from apsam_serve.contract.preprocess import MASK_STRIDE, LetterBox, letterbox
from apsam_train.categories import superclass_label
from apsam_train.data.augment import Augment, random_look, random_view
from apsam_train.data.boxes import mask_box
from apsam_train.data.problems import Problem, UnusableSampleError
from apsam_train.data.sample import Sample, SampleSource
from apsam_train.data.sampling import Draw, Sides
from apsam_train.errors import DatasetError

_AIR = 25
"""Grey levels below the brightest pixel down to which the darkest channel shows nothing but the
belt, whose own grey differs from scanner to scanner."""


class TrainingItem(NamedTuple):
    """One image, or B of them when collated (then every tensor has B in front).

    image: uint8 [S, S, 3]; target: float32 [K, L, L], share of each cell the object covers;
    boxes: float32 [K, 4], its box (left, top, right, bottom); clicks: float32 [K + negatives, 2],
    on the objects, then beside all of them; both in model pixels; label: int64 [K + negatives] of
    `categories.LABELS`; valid_cells: int64 [2]; sample_index, draw: int64 [],
    which sample, and the number of the draw since the run began.
    """

    image: Tensor
    target: Tensor
    boxes: Tensor
    clicks: Tensor
    label: Tensor
    valid_cells: Tensor
    sample_index: Tensor
    draw: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """An item, or B of them, and how it came about. load_s: float32 [3], seconds to read, to vary
    and to build targets; problems: what was left out on the way."""

    item: TrainingItem
    load_s: Tensor
    problems: tuple[Problem, ...]


class TrainingSet(Dataset[Loaded]):
    """Augmented, letter-boxed views with `num_prompts` objects and one random click on each."""

    def __init__(
        self,
        source: SampleSource,
        *,
        side: int | Sides,
        num_prompts: int,
        augment: Augment,
        seed: int,
        num_negatives: int = 0,
        coarse_labels: bool = False,
        closeups: float = 0.0,
        scanner_share: float = 1.0,
    ) -> None:
        """coarse_labels: of every object only the superclass is told; closeups: share of the views
        of a smaller side than the largest that are cut to it, in place of shrunk; scanner_share: of
        the views that augment = "scanner" makes, the others are "view"."""
        self._source = source
        self._side = side
        self._largest = side if isinstance(side, int) else side.largest
        self._num_prompts = num_prompts
        self._num_negatives = num_negatives
        self._coarse_labels = coarse_labels
        self._augment = augment
        self._closeups = closeups
        self._scanner_share = scanner_share
        self._seed = seed

    def __getitem__(self, draw: Draw) -> Loaded:
        """Raises DatasetError when no sample at all has an object."""
        epoch, position, wanted = draw
        rng = np.random.default_rng([self._seed, epoch, position])
        started = time.perf_counter()
        index, sample, problems = self._with_objects(wanted)
        read = time.perf_counter()
        number = epoch * len(self._source) + position
        side = self._side if isinstance(self._side, int) else self._side.of_draw(number)
        near = side < self._largest and rng.random() < self._closeups
        closeup = side / self._largest if near else None
        augment = self._augment
        if augment == "scanner" and rng.random() >= self._scanner_share:
            augment = "view"
        sample = random_view(sample, augment, rng, closeup=closeup)
        look = random_look(sample.image, augment, rng)
        image, frame = letterbox(np.ascontiguousarray(look), side=side)
        varied = time.perf_counter()
        chosen = _choose(len(sample.instances), self._num_prompts, rng)
        instances = [sample.instances[i] for i in chosen]
        clicks = [random_point(one.mask, rng) for one in instances]
        clicks += self._beside(sample, rng)
        labels = [self._label(one.category) for one in instances]
        target = np.stack([coverage(one.mask, frame) for one in instances])
        boxes = np.stack([_corners(one.mask) for one in instances])
        load_s = [read - started, varied - read, time.perf_counter() - varied]
        item = TrainingItem(
            image=torch.from_numpy(image),
            target=torch.from_numpy(target),
            boxes=torch.from_numpy(frame.to_model(boxes.reshape(-1, 2)).reshape(-1, 4)).float(),
            clicks=torch.from_numpy(frame.to_model(np.array(clicks))),
            label=torch.tensor(labels + [0] * self._num_negatives),
            valid_cells=torch.tensor(frame.valid_cells),
            sample_index=torch.tensor(index),
            draw=torch.tensor(number),
        )
        return Loaded(item=item, load_s=torch.tensor(load_s), problems=tuple(problems))

    def _label(self, category: str) -> int:
        label = self._source.label_of(category)
        return superclass_label(label) if self._coarse_labels else label

    def _with_objects(self, wanted: int) -> tuple[int, Sample, list[Problem]]:
        """The wanted sample, or the next one that can be read and has objects, and what was wrong
        with those before it."""
        problems: list[Problem] = []
        for offset in range(len(self._source)):
            index = (wanted + offset) % len(self._source)
            try:
                sample = self._source[index]
            except UnusableSampleError as error:
                problems.append(error.problem)
                continue
            problems += sample.problems
            if sample.instances:
                return index, sample, problems
        raise DatasetError(
            f"{self._source.description}: no sample has an object with a mask; nothing to train on"
        )

    def _beside(self, sample: Sample, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Clicks on things that are no object: neither air nor any instance."""
        if not self._num_negatives:
            return []
        darkest = sample.image.min(axis=2)
        free = darkest < int(darkest.max()) - _AIR
        for one in sample.instances:
            free &= ~one.mask
        if not free.any():
            free[:] = True
        return [random_point(free, rng) for _ in range(self._num_negatives)]


def collate(loaded: list[Loaded]) -> Loaded:
    """Stack B items."""
    return Loaded(
        item=TrainingItem(
            *(torch.stack(t) for t in zip(*(one.item for one in loaded), strict=True))
        ),
        load_s=torch.stack([one.load_s for one in loaded]).sum(dim=0),
        problems=tuple(problem for one in loaded for problem in one.problems),
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


def _corners(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    box = mask_box(mask)
    return np.array([box.left, box.top, box.right, box.bottom])


def _choose(available: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """`wanted` indices, every object before any object twice."""
    rounds = [rng.permutation(available) for _ in range(-(-wanted // available))]
    return [int(i) for i in np.concatenate(rounds)[:wanted]]
