"""The fast APG against slow ones that cannot be wrong: all pixels, integers of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract import two_means
from apsam_serve.contract.apg import ApgConfig, ApgResult, adaptive_points
from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_serve.contract.runs import Cut, Runs, Sums

Mask = NDArray[np.bool_]
L = 128
MAX_ITERATIONS = 20


def _blob(rng: np.random.Generator) -> Mask:
    noise = cv2.GaussianBlur(rng.normal(size=(L, L)), (0, 0), rng.uniform(2, 10))
    return np.asarray(noise > np.quantile(noise, rng.uniform(0.5, 0.98)))


def _noise(rng: np.random.Generator) -> Mask:
    return rng.random((L, L)) < rng.uniform(0.001, 0.5)


def _line(rng: np.random.Generator) -> Mask:
    start, end = rng.integers(0, L, (2, 2)).tolist()
    line = cv2.line(np.zeros((L, L), np.uint8), start, end, 1, int(rng.integers(1, 4)))
    return np.asarray(line) > 0


def _bar(rng: np.random.Generator) -> Mask:
    centre, size = rng.uniform(20, 100, 2), rng.uniform((3, 2), (80, 20))
    corners = cv2.boxPoints((centre.tolist(), size.tolist(), float(rng.uniform(0, 180))))
    bar = cv2.fillPoly(np.zeros((L, L), np.uint8), [corners.astype(np.int32)], 1)
    return np.asarray(bar) > 0


def _disc(centre: NDArray[np.floating], radius: float) -> Mask:
    y, x = np.mgrid[:L, :L]
    return np.asarray(np.hypot(x - centre[0], y - centre[1]) < radius)


def _two_discs(rng: np.random.Generator) -> Mask:
    return _disc(rng.uniform(0, L, 2), rng.uniform(1, 20)) | _disc(
        rng.uniform(0, L, 2), rng.uniform(1, 20)
    )


def _ring(rng: np.random.Generator) -> Mask:
    centre, radius = rng.integers(10, L - 10, 2).astype(float), rng.uniform(5, 50)
    return _disc(centre, radius) & ~_disc(centre, 0.6 * radius)


def _rectangle(rng: np.random.Generator) -> Mask:
    mask = np.zeros((L, L), bool)
    y, x, height, width = rng.integers(0, 60, 4)
    mask[y : y + height + 1, x : x + width + 1] = True
    return mask


def _few_pixels(rng: np.random.Generator) -> Mask:
    """Small patterns, where exact ties are common."""
    mask = np.zeros((L, L), bool)
    side = int(rng.integers(4, 30))
    mask[:side, :side] = rng.random((side, side)) < rng.uniform(0.02, 0.4)
    return mask


SHAPES = (_blob, _noise, _line, _bar, _two_discs, _ring, _rectangle, _few_pixels)


def _masks(shape: int, count: int) -> Iterator[Mask]:
    rng = np.random.default_rng(shape)
    while count:
        mask = SHAPES[shape](rng)
        if mask.sum() >= 2:
            count -= 1
            yield mask


def _result(mask: Mask) -> ApgResult:
    logits = np.where(mask, 1, -1).astype(np.float32)
    config = ApgConfig(tau=0, max_iterations=MAX_ITERATIONS)
    result = adaptive_points(logits, valid_cells=(L, L), config=config)
    assert result.branch == "clusters"
    return result


@dataclass(frozen=True)
class Lloyd:
    assignment: NDArray[np.int8]
    centroids: NDArray[np.float64]
    num_ties: int
    rested: bool


def _runs(mask: Mask) -> Runs:
    return Runs.above(mask.astype(np.float32), 0, mask.shape)


def _start(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    runs = _runs(mask)
    return two_means.principal_extremes(runs, runs.moments())


def _lloyd(mask: Mask) -> Lloyd:
    """Pixel by pixel in Python integers: |p - c1| <= |p - c2| is cluster 1."""
    y, x = np.nonzero(mask)
    px, py = x.astype(object), y.astype(object)
    (x1, y1), (x2, y2) = _start(mask)
    n1 = n2 = 1
    num_ties, first, rested = 0, np.zeros(0, bool), False
    for _ in range(MAX_ITERATIONS):
        scale = 2 * n1 * n2
        nearer_2 = (n1 * x2 - n2 * x1) * (scale * px - (n1 * x2 + n2 * x1)) + (
            n1 * y2 - n2 * y1
        ) * (scale * py - (n1 * y2 + n2 * y1))
        before, first = first, (nearer_2 <= 0).astype(bool)
        num_ties += int((nearer_2 == 0).sum())
        if np.array_equal(before, first):
            rested = True
            break
        n1, x1, y1 = int(first.sum()), int(px[first].sum()), int(py[first].sum())
        n2, x2, y2 = len(px) - n1, int(px.sum()) - x1, int(py.sum()) - y1
    assignment = np.zeros(mask.shape, np.int8)
    assignment[y, x] = np.where(first, 1, 2)
    centroids = np.array([[x1 / n1, y1 / n1], [x2 / n2, y2 / n2]])
    return Lloyd(assignment, centroids, num_ties, rested)


@pytest.mark.parametrize("shape", range(len(SHAPES)), ids=[s.__name__[1:] for s in SHAPES])
def test_every_pixel_is_assigned_as_by_integer_arithmetic(shape: int) -> None:
    for mask in _masks(shape, 50):
        result, expected = _result(mask), _lloyd(mask)
        assert np.array_equal(result.assignment, expected.assignment)
        centroids = (expected.centroids + 0.5) * MASK_STRIDE
        np.testing.assert_allclose(result.centroids, centroids, rtol=0, atol=1e-9)


def test_pixels_exactly_between_the_centroids_go_to_cluster_1() -> None:
    """Whole-number thresholds of bisectors with every slope, which a quotient dy / dx misses."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:L, :L]
    runs = _runs(np.ones((L, L), bool))
    num_ties = 0
    for _ in range(500):
        first, second = rng.integers(0, L, (2, 2))
        if (first == second).all():
            continue
        n1, n2 = (int(n) for n in rng.integers(1, 50, 2))
        sums = [
            Sums(n, n * x, n * y) for n, (x, y) in ((n1, first.tolist()), (n2, second.tolist()))
        ]
        at, left = two_means.cut_runs(runs, *sums)
        assigned = Cut(runs=runs, at=at, left=left).assignment()
        one = (x - first[0]) ** 2 + (y - first[1]) ** 2
        two = (x - second[0]) ** 2 + (y - second[1]) ** 2
        num_ties += int((one == two).sum())
        assert np.array_equal(assigned == 1, one <= two)
    assert num_ties > 1000


def test_masks_without_ties_are_divided_as_by_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster", reason="a library of the train extra")
    threads = pytest.importorskip("threadpoolctl", reason="comes with scikit-learn")
    num_compared = 0
    with threads.threadpool_limits(1):
        for mask in (mask for shape in range(len(SHAPES)) for mask in _masks(shape, 15)):
            lloyd = _lloyd(mask)
            if lloyd.num_ties or not lloyd.rested:
                continue
            y, x = np.nonzero(mask)
            seeds = np.array(_start(mask), float)
            means = cluster.KMeans(2, init=seeds, n_init=1, algorithm="lloyd", tol=0)
            labels = means.fit_predict(np.stack([x, y], axis=1).astype(float))
            assert np.array_equal(_result(mask).assignment[y, x], labels + 1)
            num_compared += 1
    assert num_compared >= 50


@pytest.mark.parametrize("shape", range(len(SHAPES)), ids=[s.__name__[1:] for s in SHAPES])
def test_the_points_are_the_farthest_pair_of_all_pixels(shape: int) -> None:
    for mask in _masks(shape, 12):
        result = _result(mask)
        (y1, x1), (y2, x2) = np.nonzero(result.assignment == 1), np.nonzero(result.assignment == 2)
        if len(y1) * len(y2) > 4_000_000:
            continue
        distance = (x1[:, None] - x2) ** 2 + (y1[:, None] - y2) ** 2
        # np.nonzero lists pixels by y, then x, so the first maximum follows the tie rule.
        i, j = divmod(int(distance.argmax()), len(y2))
        expected = (np.array([[x1[i], y1[i]], [x2[j], y2[j]]]) + 0.5) * MASK_STRIDE
        assert np.array_equal(result.points, expected)


def test_the_start_lies_at_both_ends_of_the_principal_axis() -> None:
    for shape in range(len(SHAPES)):
        for mask in _masks(shape, 10):
            y, x = np.nonzero(mask)
            pixels = np.stack([x, y], axis=1).astype(float)
            values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True))
            if values[1] - values[0] < 1e-6 * values[1]:
                continue  # round: every direction is principal
            along = pixels @ vectors[:, 1]
            ends = np.array(_start(mask)) @ vectors[:, 1]
            np.testing.assert_allclose(sorted(ends), [along.min(), along.max()], atol=1e-6)
