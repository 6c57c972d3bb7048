"""The Adaptive Point Generator (paper 4.4, eq. 7-9): one coarse click becomes two points.

This is the reference: exact, deterministic, and fast because the pixels of a mask need no
pixel-by-pixel work. Between two centroids the K = 2 boundary is a line, so every row of a mask
splits into two runs, and with per-row prefix counts and prefix sums of x one Lloyd iteration costs
O(L), not O(L x L). A farthest pair always lies on row extremes, because distance is convex along a
row. All counts and sums are integers; the one float64 formula per row (`_row_thresholds`) and the
one per start candidate (`_principal_axis`) use plain rounded operations, never a fused
multiply-add, so that every implementation of them assigns every pixel alike.

Coordinates: cells (x, y) of the L x L grid inside; model pixels in `ApgResult`, where cell (x, y)
stands for ((x + 0.5) S / L, (y + 0.5) S / L).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import MASK_STRIDE

Branch = Literal["clusters", "fallback", "empty"]
Fallback = Literal["foreground", "box"]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ApgConfig:
    """tau: least centroid distance in model pixels for two clusters; fallback: see `_fallback`;
    scale_range: (low, high) of the box scales s_w, s_h, drawn with `seed`; training: (0.9, 1.1);
    core: points are looked for where the logit exceeds it, or in the whole mask (above 0, the
    paper) where nothing does. The farthest pair of the whole mask lies on its outline, and so
    often beside the object; a model's own core is part of it (docs/adr/0011)."""

    core: float = 0.0
    tau: float = 4.0
    max_iterations: int = 20
    fallback: Fallback = "foreground"
    scale_range: tuple[float, float] = (1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ApgResult:
    """points: float32 [2, 2] (x, y) in model pixels, [0, 2] when the mask is empty;
    box: (left, top, right, bottom) of B in model pixels; assignment: int8 [L, L], 1 and 2 for the
    clusters, 0 elsewhere; centroids: float64 [2, 2] in model pixels, NaN where there are none."""

    points: NDArray[np.float32]
    branch: Branch
    box: tuple[float, float, float, float]
    assignment: NDArray[np.int8]
    centroids: NDArray[np.float64]


def adaptive_points(
    logits: NDArray[np.float32],
    *,
    valid_cells: tuple[int, int],
    config: ApgConfig | None = None,
) -> ApgResult:
    """Turn a decoded mask, logits float32 [L, L], into the two points of the second decode.

    valid_cells: (rows, columns) that lie on the image; padding is never foreground.
    """
    config = config or ApgConfig()
    foreground = _foreground(logits, valid_cells, config.core)
    box, foreground = _scaled_box(foreground, valid_cells, config)
    rows = _Rows.of(foreground)
    if rows.total == 0:
        return _result(np.zeros((0, 2)), "empty", box, foreground)
    split = _two_means(rows, config.max_iterations)
    if split is None or not split.distance_cells * MASK_STRIDE > config.tau:
        return _result(_fallback(rows, box, config), "fallback", box, foreground)
    pair = _farthest_pair(*split.clusters(rows))
    return _result((pair + 0.5) * MASK_STRIDE, "clusters", box, foreground, split)


def _foreground(
    logits: NDArray[np.float32], valid_cells: tuple[int, int], core: float
) -> NDArray[np.bool_]:
    valid = np.zeros(logits.shape, bool)
    valid[: valid_cells[0], : valid_cells[1]] = True
    inner = (logits > core) & valid
    return inner if inner.any() else (logits > 0) & valid


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Foreground by rows. counts, sums: int64 [L, L + 1], prefix counts of pixels and prefix sums
    of x per row."""

    mask: NDArray[np.bool_]
    counts: Ints
    sums: Ints

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> _Rows:
        height, width = mask.shape
        counts = np.zeros((height, width + 1), np.int64)
        sums = np.zeros((height, width + 1), np.int64)
        np.cumsum(mask, axis=1, out=counts[:, 1:])
        np.cumsum(mask * np.arange(width), axis=1, out=sums[:, 1:])
        return cls(mask=mask, counts=counts, sums=sums)

    @property
    def total(self) -> int:
        return int(self.counts[:, -1].sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Split:
    """A two-way cut of the rows. Cluster 1 is [start, stop) in each row, cluster 2 the rest;
    centroids: float64 [2, 2] in cells."""

    start: Ints
    stop: Ints
    centroids: NDArray[np.float64]

    @property
    def distance_cells(self) -> float:
        dx, dy = self.centroids[1] - self.centroids[0]
        return float(np.sqrt(dx * dx + dy * dy))

    def assignment(self, mask: NDArray[np.bool_]) -> NDArray[np.int8]:
        columns = np.arange(mask.shape[1])
        first = (columns >= self.start[:, None]) & (columns < self.stop[:, None])
        return np.where(mask, np.where(first, 1, 2), 0).astype(np.int8)

    def clusters(self, rows: _Rows) -> tuple[Ints, Ints]:
        """Row extremes of both clusters as points int64 [K, 2], sorted by y, then x."""
        assignment = self.assignment(rows.mask)
        return _row_extremes(assignment == 1), _row_extremes(assignment == 2)


def _two_means(rows: _Rows, max_iterations: int) -> _Split | None:
    """Lloyd's algorithm with K = 2 until the assignment rests; None for fewer than two pixels."""
    if rows.total < 2:
        return None
    seeds = _principal_extremes(rows)
    split = _assign(seeds[0], 1, seeds[1], 1, rows)
    for _ in range(max_iterations - 1):
        (s1, n1), (s2, n2) = _sums(split, rows)
        moved = _assign(s1, n1, s2, n2, rows)
        same = np.array_equal(moved.start, split.start) and np.array_equal(moved.stop, split.stop)
        split = moved
        if same:
            break
    (s1, n1), (s2, n2) = _sums(split, rows)
    return _Split(start=split.start, stop=split.stop, centroids=np.stack([s1 / n1, s2 / n2]))


def _assign(s1: Ints, n1: int, s2: Ints, n2: int, rows: _Rows) -> _Split:
    """Cut every row at the bisector of the centroids s1 / n1 and s2 / n2 (ties to cluster 1)."""
    dx, dy = (int(v) for v in n1 * s2 - n2 * s1)
    mx, my = (int(v) for v in n1 * s2 + n2 * s1)
    height, width = rows.mask.shape
    y = np.arange(height, dtype=np.int64)
    if dx == 0:
        below = np.sign(dy) * (2 * n1 * n2 * y - my) <= 0  # a horizontal bisector: whole rows
        start, stop = np.zeros(height, np.int64), np.where(below, width, 0)
    else:
        cut = _row_thresholds(dx, dy, mx, my, n1 * n2, y)
        if dx > 0:
            start, stop = np.zeros(height, np.int64), np.floor(cut).clip(-1, width - 1) + 1
        else:
            start, stop = np.ceil(cut).clip(0, width), np.full(height, width)
    return _Split(
        start=start.astype(np.int64), stop=stop.astype(np.int64), centroids=np.zeros((2, 2))
    )


def _row_thresholds(dx: int, dy: int, mx: int, my: int, n1n2: int, y: Ints) -> NDArray[np.float64]:
    """x at which each row meets the bisector: float64 [L]. THE float formula; keep its order.

    With c1 + c2 = m / (n1 n2) and c2 - c1 = d / (n1 n2), the bisector is
    d . (2 p - m / (n1 n2)) = 0. Where a pixel lies exactly on it, dx / gcd divides the row term, so
    that every step is an integer below 2^53 and the tie is exact; a slope dy / dx would round some
    ties to cluster 2.
    """
    divisor = math.gcd(dx, dy)
    row_term = (2 * n1n2 * y - my).astype(np.float64) / float(dx // divisor)
    return (float(mx) - float(dy // divisor) * row_term) / float(2 * n1n2)


def _sums(split: _Split, rows: _Rows) -> tuple[tuple[Ints, int], tuple[Ints, int]]:
    """((sum of (x, y), count) of cluster 1, the same of cluster 2) from the prefix tables."""
    row = np.arange(len(split.start))
    count = rows.counts[row, split.stop] - rows.counts[row, split.start]
    sum_x = rows.sums[row, split.stop] - rows.sums[row, split.start]
    everything = np.array([rows.sums[:, -1].sum(), (row * rows.counts[:, -1]).sum()])
    first = np.array([sum_x.sum(), (row * count).sum()])
    num_first = int(count.sum())
    return (first, num_first), (everything - first, rows.total - num_first)


def _principal_extremes(rows: _Rows) -> tuple[Ints, Ints]:
    """The two row extremes that lie farthest apart along the principal axis: int64 [2] each.

    Ties go to the smallest y, then x.
    """
    points = _row_extremes(rows.mask)
    vx, vy = _principal_axis(rows)
    along = vx * points[:, 0] + vy * points[:, 1]
    return points[along.argmin()], points[along.argmax()]


def _principal_axis(rows: _Rows) -> tuple[float, float]:
    """Direction of the largest eigenvalue of the pixels' covariance (x axis if there is none)."""
    y, x = np.arange(rows.mask.shape[0]), np.arange(rows.mask.shape[1])
    per_row, per_column = rows.counts[:, -1], rows.mask.sum(axis=0)
    n, sx, sy = rows.total, int(per_column @ x), int(per_row @ y)
    a = n * int(per_column @ (x * x)) - sx * sx
    b = n * int(rows.sums[:, -1] @ y) - sx * sy
    c = n * int(per_row @ (y * y)) - sy * sy
    half = (a - c) / 2
    root = float(np.sqrt(half * half + float(b) * float(b)))
    vx, vy = (half + root, float(b)) if half >= 0 else (float(b), root - half)
    return (vx, vy) if vx or vy else (1.0, 0.0)


def _row_extremes(mask: NDArray[np.bool_]) -> Ints:
    """Left-most and right-most pixel of each row: int64 [K, 2] (x, y), sorted by y, then x."""
    y = np.flatnonzero(mask.any(axis=1))
    filled = mask[y]
    first = filled.argmax(axis=1)
    last = mask.shape[1] - 1 - filled[:, ::-1].argmax(axis=1)
    points = np.empty((len(y), 2, 2), np.int64)
    points[:, 0, 0], points[:, 1, 0] = first, last
    points[:, :, 1] = y[:, None]
    return points.reshape(-1, 2)


def _farthest_pair(first: Ints, second: Ints) -> Ints:
    """Exact farthest pair between two clusters' row extremes (eq. 8): int64 [2, 2].

    Ties go to the smallest y, then x, of the first point, then of the second.
    """
    a, b = first.astype(np.int32), second.astype(np.int32)
    dx = a[:, None, 0] - b[None, :, 0]
    dy = a[:, None, 1] - b[None, :, 1]
    best = int((dx * dx + dy * dy).argmax())
    return np.stack([first[best // len(second)], second[best % len(second)]])


def _scaled_box(
    foreground: NDArray[np.bool_], valid_cells: tuple[int, int], config: ApgConfig
) -> tuple[tuple[float, float, float, float], NDArray[np.bool_]]:
    """B of eq. 7 in model pixels, clipped to the image, and the foreground inside it."""
    y = np.flatnonzero(foreground.any(axis=1))
    x = np.flatnonzero(foreground.any(axis=0))
    if len(y) == 0:
        return (0.0, 0.0, 0.0, 0.0), foreground
    low, high = config.scale_range
    spans = []
    for axis, (cells, limit) in enumerate(((x, valid_cells[1]), (y, valid_cells[0]))):
        begin, end = float(cells[0]), float(cells[-1] + 1)
        scale = low + (high - low) * _uniform(config.seed, 2 + axis)
        reach = (end - begin) / 2 * scale
        middle = (begin + end) / 2
        spans.append((max(0.0, middle - reach), min(float(limit), middle + reach)))
    (left, right), (top, bottom) = spans
    if config.scale_range != (1.0, 1.0):
        height, width = foreground.shape
        in_x = (np.arange(width) + 0.5 >= left) & (np.arange(width) + 0.5 <= right)
        in_y = (np.arange(height) + 0.5 >= top) & (np.arange(height) + 0.5 <= bottom)
        foreground = foreground & in_y[:, None] & in_x[None, :]
    stride = float(MASK_STRIDE)
    return (left * stride, top * stride, right * stride, bottom * stride), foreground


def _fallback(
    rows: _Rows, box: tuple[float, float, float, float], config: ApgConfig
) -> NDArray[np.float64]:
    """Two seeded uniform draws, in model pixels: float64 [2, 2] (eq. 9).

    "foreground" draws pixels of the mask, because a point of the box that is off the object is a
    wrong positive click; "box" is the literal paper.
    """
    draws = (_uniform(config.seed, 0), _uniform(config.seed, 1))
    if config.fallback == "box":
        left, top, right, bottom = box
        heights = (_uniform(config.seed, 4), _uniform(config.seed, 5))
        return np.array(
            [
                (left + (right - left) * u, top + (bottom - top) * v)
                for u, v in zip(draws, heights, strict=True)
            ]
        )
    pixels = np.flatnonzero(rows.mask)
    chosen = pixels[[int(u * len(pixels)) for u in draws]]
    width = rows.mask.shape[1]
    return (np.stack([chosen % width, chosen // width], axis=1) + 0.5) * MASK_STRIDE


def _uniform(seed: int, draw: int) -> float:
    """Draw number `draw` of a seed in [0, 1): splitmix64, the same on every device."""
    mask = (1 << 64) - 1
    z = (seed + (draw + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def _result(
    points: NDArray[np.floating],
    branch: Branch,
    box: tuple[float, float, float, float],
    mask: NDArray[np.bool_],
    split: _Split | None = None,
) -> ApgResult:
    if split is None:
        assignment, centroids = mask.astype(np.int8), np.full((2, 2), np.nan)
    else:
        assignment, centroids = split.assignment(mask), (split.centroids + 0.5) * MASK_STRIDE
    return ApgResult(
        points=points.astype(np.float32),
        branch=branch,
        box=box,
        assignment=assignment,
        centroids=centroids,
    )
