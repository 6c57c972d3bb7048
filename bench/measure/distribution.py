"""Samples to numbers: quantiles, and ratios and differences with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
_AT_ONCE = 2_000_000
"""Numbers drawn at once: 16 MB."""
NEEDED = {"p50": 1, "p90": 10, "p99": 100, "p99_9": 1000, "max": 1}
"""Quantile -> samples from which on it is more than the largest of them."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of one quantity, in the unit of its samples. With fewer samples than `NEEDED` the far
    quantiles are the maximum, or nearly."""

    num: int
    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """Raises ValueError when there are no values."""
        if len(values) == 0:
            raise ValueError("0 values have no distribution; measure at least one")
        array = np.asarray(values, np.float64)
        p50, p90, p99, p99_9 = (float(q) for q in np.quantile(array, (0.5, 0.9, 0.99, 0.999)))
        return cls(
            num=len(array),
            mean=float(array.mean()),
            p50=p50,
            p90=p90,
            p99=p99,
            p99_9=p99_9,
            max=float(array.max()),
        )


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def ratio(
    over: Sequence[float],
    under: Sequence[float],
    *,
    quantile: float = 0.5,
    paired: bool = False,
    block: int | None = None,
    seed: int = 0,
) -> Interval:
    """quantile(over) / quantile(under), by the bootstrap of blocks, for neighbours in time are not
    independent. paired: samples of interleaved runs, drawn together.

    block: that many samples after one another belong together (calls of one block of one side), and
    are drawn together; without it, moving blocks of n^(1/3).

    Raises ValueError for no samples, paired ones of different numbers, or blocks that do not fit.
    """
    return _between(over, under, np.divide, quantile, paired, block, seed)


def difference(
    over: Sequence[float],
    under: Sequence[float],
    *,
    quantile: float = 0.5,
    paired: bool = False,
    block: int | None = None,
    seed: int = 0,
) -> Interval:
    """quantile(over) - quantile(under), like `ratio`."""
    return _between(over, under, np.subtract, quantile, paired, block, seed)


def typical(values: Sequence[float], *, block: int | None = None, seed: int = 0) -> Interval:
    """The median, like `ratio`."""
    return difference(values, [0.0] * len(values), paired=True, block=block, seed=seed)


def _between(
    over: Sequence[float],
    under: Sequence[float],
    of: Callable[[Any, Any], Any],
    quantile: float,
    paired: bool,
    block: int | None,
    seed: int,
) -> Interval:
    if len(over) == 0 or len(under) == 0:
        raise ValueError(f"{len(over)} over {len(under)} samples; give at least one of both")
    if paired and len(over) != len(under):
        raise ValueError(f"{len(over)} and {len(under)} samples are no pairs; give as many of both")
    rng = np.random.default_rng(seed)
    upper, lower = np.asarray(over, np.float64), np.asarray(under, np.float64)
    drawn: list[NDArray[np.float64]] = []
    step = max(1, _AT_ONCE // max(len(upper), len(lower)))
    for first in range(0, _RESAMPLES, step):
        num = min(step, _RESAMPLES - first)
        chosen = _positions(len(upper), num, block, rng)
        other = chosen if paired else _positions(len(lower), num, block, rng)
        drawn.append(
            of(
                np.quantile(upper[chosen], quantile, axis=1),
                np.quantile(lower[other], quantile, axis=1),
            )
        )
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    value = of(np.quantile(upper, quantile), np.quantile(lower, quantile))
    return Interval(value=float(value), low=float(low), high=float(high))


def _positions(
    num_samples: int, num_draws: int, block: int | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """int64 [num_draws, num_samples], in blocks."""
    if block is not None and (block < 1 or num_samples % block):
        raise ValueError(f"{num_samples} samples are no blocks of {block}; give whole blocks")
    length = block or max(1, round(num_samples ** (1 / 3)))
    num_blocks = math.ceil(num_samples / length)
    if block is None:
        starts = rng.integers(0, num_samples - length + 1, (num_draws, num_blocks, 1))
    else:
        starts = rng.integers(0, num_blocks, (num_draws, num_blocks, 1)) * length
    positions: NDArray[np.int64] = (starts + np.arange(length)).reshape(num_draws, -1)
    return positions[:, :num_samples]
