"""Which sample is drawn when, and on which device: a function of (seed, step), and of nothing else.

That is what makes a resumed run see what it would have seen, and several devices together see what
one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from apsam_train.errors import ConfigError

Draw = tuple[int, int, int]
"""(epoch, position in the epoch, index of the sample)."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One device's part of every batch. batch_size: images of a step over all devices; accumulate:
    passes that make one step."""

    batch_size: int
    rank: int = 0
    num_devices: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Raises ConfigError when the batch cannot be divided evenly."""
        parts = self.num_devices * self.accumulate
        if self.batch_size % parts:
            raise ConfigError(
                f"batch_size {self.batch_size} cannot be divided over {self.num_devices} devices x "
                f"{self.accumulate} passes; make it a multiple of {parts}"
            )

    @property
    def images_per_pass(self) -> int:
        """Images that this device takes at once."""
        return self.batch_size // (self.num_devices * self.accumulate)

    def positions(self) -> range:
        """This device's places in a batch, in the order of its passes."""
        images = self.images_per_pass * self.accumulate
        return range(self.rank * images, (self.rank + 1) * images)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Which side the pictures of a step have: one of `choices`, the same on every device. largest:
    at which the model will be used."""

    choices: tuple[int, ...]
    largest: int
    batch_size: int
    seed: int

    def of_draw(self, number: int) -> int:
        """Of the picture that is draw `number` since the run began."""
        rng = np.random.default_rng([self.seed, number // self.batch_size, 1])
        return self.choices[int(rng.integers(len(self.choices)))]


class EpochSampler(Sampler[Draw]):
    """This device's draws from step `first_step` on, without end. Every epoch has its own order of
    all samples; a batch may span two epochs."""

    def __init__(self, *, num_samples: int, share: Share, seed: int, first_step: int) -> None:
        self._num_samples = num_samples
        self._share = share
        self._seed = seed
        self._first_step = first_step

    def __iter__(self) -> Iterator[Draw]:
        known_epoch, order = -1, np.empty(0, np.int64)
        step = self._first_step
        while True:
            for place in self._share.positions():
                epoch, position = divmod(step * self._share.batch_size + place, self._num_samples)
                if epoch != known_epoch:
                    rng = np.random.default_rng([self._seed, epoch])
                    known_epoch, order = epoch, rng.permutation(self._num_samples)
                yield epoch, position, int(order[position])
            step += 1
