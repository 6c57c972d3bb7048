"""Samples to numbers: quantiles, and ratios with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
_AT_ONCE = 2_000_000
"""Numbers drawn at once: 16 MB."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of one quantity, in the unit of its samples. With few samples the far quantiles are the
    maximum, or nearly: `num` says how far to trust them."""

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
    seed: int = 0,
) -> Interval:
    """quantile(over) / quantile(under), by the moving-block bootstrap: neighbours in time are not
    independent, so blocks of them are drawn. paired: samples of interleaved runs, drawn together.

    Raises ValueError for no samples, or paired ones of different numbers.
    """
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
        chosen = _blocks(len(upper), num, rng)
        other = chosen if paired else _blocks(len(lower), num, rng)
        drawn.append(
            np.quantile(upper[chosen], quantile, axis=1)
            / np.quantile(lower[other], quantile, axis=1)
        )
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    value = np.quantile(upper, quantile) / np.quantile(lower, quantile)
    return Interval(value=float(value), low=float(low), high=float(high))


def _blocks(num_samples: int, num_draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions int64 [num_draws, num_samples] in blocks of n^(1/3), the usual length."""
    length = max(1, round(num_samples ** (1 / 3)))
    num_blocks = math.ceil(num_samples / length)
    starts = rng.integers(0, num_samples - length + 1, (num_draws, num_blocks, 1))
    positions: NDArray[np.int64] = (starts + np.arange(length)).reshape(num_draws, -1)
    return positions[:, :num_samples]
