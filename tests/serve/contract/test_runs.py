"""Runs of a mask against its pixels, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.runs import Cut, Runs

Mask = NDArray[np.bool_]


def _runs(mask: Mask) -> Runs:
    return Runs.above(mask.astype(np.float32), 0.5, mask.shape)


def _masks() -> list[Mask]:
    """From nearly empty to full, of any shape."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(1, 70, (30, 2)).tolist()
    return [rng.random(shape) < share for shape in shapes for share in (0.02, 0.5, 1)]


def test_runs_are_the_pixels_of_the_mask() -> None:
    for mask in _masks():
        assert np.array_equal(Cut.none(_runs(mask)).assignment(), mask.astype(np.int8))


def test_sums_are_those_of_the_pixels() -> None:
    for mask in _masks():
        y, x = np.nonzero(mask)
        expected = [len(x), *(int(v.sum()) for v in (x, y, x * x, x * y, y * y))]
        assert list(_runs(mask).moments()) == expected


def test_sums_are_exact_for_the_largest_mask() -> None:
    mask = np.indices((1024, 1024)).sum(axis=0) % 2 == 1  # as many runs as there can be
    y, x = np.nonzero(mask)
    expected = [len(x), *(int(v.sum()) for v in (x, y, x * x, x * y, y * y))]
    assert list(_runs(mask).moments()) == expected


def test_pixels_are_numbered_row_by_row() -> None:
    for mask in _masks():
        runs = _runs(mask)
        pixels = np.argwhere(mask)[:, ::-1].tolist()
        for number in range(0, len(pixels), 7):
            assert list(runs.pixel(number)) == pixels[number]


@pytest.mark.parametrize("cluster", [1, 2])
def test_row_extremes_are_among_the_ends_and_all_ends_are_pixels(cluster: int) -> None:
    rng = np.random.default_rng(1)
    for mask in _masks():
        runs = _runs(mask)
        at = runs.start + np.floor(rng.random(len(runs)) * (runs.stop - runs.start + 1))
        cut = Cut(runs=runs, at=at, left=int(rng.integers(1, 3)))
        chosen = cut.assignment() == cluster
        y, first, last = (v.astype(int) for v in cut.ends(cluster))
        assert chosen[y, first].all()
        assert chosen[y, last].all()
        for row in np.flatnonzero(chosen.any(axis=1)):
            extremes = np.flatnonzero(chosen[row])[[0, -1]]
            assert [first[y == row].min(), last[y == row].max()] == extremes.tolist()
