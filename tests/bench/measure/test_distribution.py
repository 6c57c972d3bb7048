from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench.measure.distribution import Distribution, difference, ratio, typical


def test_quantiles_of_known_numbers() -> None:
    found = Distribution.of(list(range(1001, 0, -1)))
    assert found == Distribution(
        num=1001, mean=501, p50=501, p90=901, p99=991, p99_9=1000, max=1001
    )


def test_nothing_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="0 values have no distribution; measure at least one"):
        Distribution.of([])


@pytest.mark.parametrize(
    ("over", "under", "block", "says"),
    [
        ([], [1.0], None, "0 over 1 samples; give at least one of both"),
        ([1.0, 2.0], [1.0], None, "2 and 1 samples are no pairs; give as many of both"),
        ([1.0] * 3, [1.0] * 3, 2, "3 samples are no blocks of 2; give whole blocks"),
    ],
)
def test_a_ratio_of_what_cannot_be_compared_says_why(
    over: Sequence[float], under: Sequence[float], block: int | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        ratio(over, under, paired=True, block=block)


def test_the_interval_holds_the_true_ratio_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for number in range(40):
        over, under = 3 * rng.lognormal(size=200), rng.lognormal(size=200)
        found = ratio(over, under, seed=number)
        assert found.low <= found.value <= found.high
        held += found.low <= 3 <= found.high
    assert 34 <= held <= 40


def test_pairs_that_drift_together_are_told_apart_sharply() -> None:
    """Both get slower by ten, one is always twice the other."""
    rng = np.random.default_rng(2)
    under = np.linspace(1, 10, 100) * rng.normal(1, 0.01, 100)
    over = 2 * under * rng.normal(1, 0.01, 100)
    paired, apart = ratio(over, under, paired=True), ratio(over, under)
    assert 1.97 < paired.low <= paired.high < 2.03
    assert apart.high - apart.low > 10 * (paired.high - paired.low)


def test_samples_that_depend_on_each_other_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    walk = 10 + np.repeat(rng.normal(size=30), 20)  # 30 independent values, each seen 20 times
    shuffled = rng.permutation(walk)
    slow, fast = ratio(walk, [10.0] * 600), ratio(shuffled, [10.0] * 600)
    assert slow.high - slow.low > 1.5 * (fast.high - fast.low)


def test_blocks_that_were_measured_together_are_drawn_together() -> None:
    """Twelve blocks of twenty: the interval speaks of twelve values, wherever a block begins."""
    rng = np.random.default_rng(4)
    held = 0
    for number in range(40):
        over, under = (
            np.exp(np.repeat(rng.normal(0, 0.3, 12), 20) + rng.normal(0, 0.02, 240))
            for _ in range(2)
        )
        together = ratio(3 * over, under, block=20, seed=number)
        moving = ratio(3 * over, under, seed=number)
        assert together.high - together.low > moving.high - moving.low
        held += together.low <= 3 <= together.high
    assert 35 <= held <= 40


def test_a_difference_of_medians_is_uncertain_on_both_sides() -> None:
    rng = np.random.default_rng(5)
    over, under = 12 + rng.normal(size=200), 10 + rng.normal(size=200)
    found, known = difference(over, under), typical(over)
    assert found.low < 2 < found.high
    assert found.value == pytest.approx(np.median(over) - np.median(under))
    assert known.low < known.value == np.median(over) < known.high
    assert found.high - found.low > 1.2 * (known.high - known.low)
    slower = difference(under + 1, under, paired=True)
    assert slower.low == pytest.approx(slower.high) == pytest.approx(1)
