"""Batches for the loop, and what keeps it waiting for them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from apsam_serve.contract.cpus import num_cpus
from apsam_train.config import TrainConfig
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.data.sampling import EpochSampler, Share, Sides
from apsam_train.data.training import Loaded, TrainingItem, TrainingSet, collate
from apsam_train.errors import ConfigError
from apsam_train.models.build import preset

_STAGES = ("reading images", "varying views", "building targets")
_TOO_MUCH = 0.2
"""Share of a step spent waiting for data that is worth a word."""


class Batches(Iterator[TrainingItem]):
    """This device's passes from `first_step` on, on its device. Measures the time they cost."""

    def __init__(
        self,
        config: TrainConfig,
        source: SampleSource,
        *,
        first_step: int,
        fabric: Fabric,
        problems: ProblemLog,
    ) -> None:
        """problems: takes what is wrong with this device's samples. Raises ConfigError when the
        batch cannot be divided over devices and passes."""
        share = Share(
            batch_size=config.batch_size,
            rank=fabric.global_rank,
            num_devices=fabric.world_size,
            accumulate=config.accumulate,
        )
        self._items = iter(_loader(config, source, share, first_step))
        self._fabric = fabric
        self._problems = problems
        self._num_workers = config.num_workers
        self._started = time.monotonic()
        self._waited_s = 0.0
        self._stages_s = torch.zeros(len(_STAGES))

    def __next__(self) -> TrainingItem:
        started = time.monotonic()
        loaded: Loaded = next(self._items)
        self._waited_s += time.monotonic() - started
        self._stages_s += loaded.load_s
        self._problems.extend(loaded.problems)
        item: TrainingItem = self._fabric.to_device(loaded.item)
        return item

    def waited(self) -> float:
        """Share of the time since the last call that the loop waited for data."""
        now = time.monotonic()
        share = self._waited_s / max(now - self._started, 1e-9)
        self._started, self._waited_s = now, 0.0
        return share

    def bottleneck(self, waited: float) -> str:
        """A line for people when data loading holds training up; "" when it does not."""
        if waited < _TOO_MUCH:
            return ""
        worst = int(self._stages_s.argmax())
        part = float(self._stages_s[worst] / self._stages_s.sum())
        advice = (
            "raise num_workers"
            if self._num_workers < num_cpus()
            else "store smaller images or take more CPU cores"
        )
        return (
            f"{waited:.0%} of the time is spent waiting for data, most of it on "
            f"{_STAGES[worst]} ({part:.0%}); {advice} (num_workers is {self._num_workers}, "
            f"cores {num_cpus()})"
        )


def _loader(
    config: TrainConfig, source: SampleSource, share: Share, first_step: int
) -> DataLoader[Loaded]:
    return DataLoader(
        TrainingSet(
            source,
            side=_side(config),
            num_prompts=config.prompts_per_image,
            num_negatives=config.negatives_per_image,
            coarse_labels=config.category_labels == "coarse",
            closeups=config.closeups,
            augment=config.augment,
            scanner_share=config.scanner_share,
            seed=config.seed,
        ),
        batch_size=share.images_per_pass,
        sampler=EpochSampler(
            num_samples=len(source), share=share, seed=config.seed, first_step=first_step
        ),
        num_workers=config.num_workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if config.num_workers else None,
    )


def _side(config: TrainConfig) -> int | Sides:
    numbers = preset(config.preset)
    if not config.sides:
        return numbers.side
    if numbers.stem != "pyramid":
        raise ConfigError(
            f"sides = {list(config.sides)}: the image encoder of preset {numbers.name!r} knows "
            f"pictures of side {numbers.side} alone; leave sides out, or take preset 'demo'"
        )
    if max(config.sides) > numbers.side:
        raise ConfigError(
            f"sides = {list(config.sides)}: preset {numbers.name!r} is for pictures of side "
            f"{numbers.side}; give that and smaller ones"
        )
    return Sides(
        choices=config.sides,
        largest=numbers.side,
        batch_size=config.batch_size,
        seed=config.seed,
    )
