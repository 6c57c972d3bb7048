from __future__ import annotations

import numpy as np
import pytest

from bench.measure.points import same_points

PAIR = ((10.0, 90.0), (10.2, 5.0))


@pytest.mark.parametrize(
    ("other", "within", "same"),
    [
        (PAIR, 0.0, True),
        (PAIR[::-1], 0.0, True),
        (((10.4, 5.0), (10.0, 90.4)), 0.5, True),
        (((10.4, 5.0), (10.0, 90.4)), 0.3, False),
        (((10.0, 5.0), (10.2, 90.0)), 0.1, False),
        (PAIR[:1], 0.5, False),
    ],
)
def test_points_are_the_same_in_either_order(
    other: tuple[tuple[float, float], ...], within: float, same: bool
) -> None:
    assert same_points(np.array(PAIR), np.array(other), within=within) == same
