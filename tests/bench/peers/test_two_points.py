"""What a user would write finds the points of the contract."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from apsam_serve.contract.apg import ApgConfig, adaptive_points
from bench.peers.two_points import two_points

L = 64


def ellipses(seed: int, num: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((L, L), np.uint8)
    for _ in range(num):
        centre = tuple(int(v) for v in rng.integers(5, L - 5, size=2))
        axes = int(rng.integers(3, 20)), int(rng.integers(2, 9))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return (mask * rng.uniform(0.5, 4, (L, L)) - 0.25).astype(np.float32)


@pytest.mark.parametrize("config", [ApgConfig(), ApgConfig(core=2.0), ApgConfig(core=9.0)])
@pytest.mark.parametrize("valid_cells", [(L, L), (40, L)])
def test_both_find_the_same_points(config: ApgConfig, valid_cells: tuple[int, int]) -> None:
    for seed in range(12):
        logits = ellipses(seed, num=1 + seed % 3)
        expected = adaptive_points(logits, valid_cells=valid_cells, config=config).points
        found = two_points(logits, valid_cells=valid_cells, config=config)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("rows", "columns", "num"),
    [((0, 0), (0, 0), 0), ((5, 6), (7, 8), 2), ((5, 6), (3, 60), 2), ((3, 60), (9, 10), 2)],
    ids=["empty", "one pixel", "one row", "one column"],
)
def test_masks_without_an_area(rows: tuple[int, int], columns: tuple[int, int], num: int) -> None:
    logits = np.full((L, L), -1, np.float32)
    logits[slice(*rows), slice(*columns)] = 1
    config = ApgConfig()
    expected = adaptive_points(logits, valid_cells=(L, L), config=config).points
    found = two_points(logits, valid_cells=(L, L), config=config)
    np.testing.assert_array_equal(found, expected)
    assert len(found) == num
