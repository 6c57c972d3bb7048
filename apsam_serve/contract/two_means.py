"""K-means with K = 2 on the pixels of a mask (paper 4.4), and the farthest pair between clusters.

Between two centroids the boundary is a line, so it cuts every run of the mask once, and one Lloyd
iteration costs O(R). A farthest pair always lies on row extremes, because distance is convex along
a row. Counts and sums are integers; the one float64 formula per row (`_row_thresholds`) and the one
per start candidate (`_principal_axis`) use plain rounded operations, never a fused multiply-add, so
that every implementation of them assigns every pixel alike.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.runs import Cut, Floats, Moments, Runs, Sums

Cell = tuple[int, int]


def two_means(runs: Runs, everything: Moments, max_iterations: int) -> tuple[Cut, Sums, Sums]:
    """Lloyd's algorithm from the ends of the principal axis until no sum moves, for then no cut
    will: the last cut and both clusters' sums. everything: of all pixels, at least two."""
    (x1, y1), (x2, y2) = principal_extremes(runs, everything)
    one, two, whole = Sums(1, x1, y1), Sums(1, x2, y2), Sums(*everything[:3])
    table = np.ones((3, len(runs)))
    table[1] = runs.y
    outside = _sums_below(runs.start, table)
    for iteration in range(max(max_iterations, 1)):
        before = one
        at, left = cut_runs(runs, one, two)
        first = _sums_below(at, table).minus(outside)
        second = whole.minus(first)
        one, two = (first, second) if left == 1 else (second, first)
        if one == before and iteration > 0:
            break
    return Cut(runs=runs, at=at, left=left), one, two


def _sums_below(x: Floats, table: Floats) -> Sums:
    """Of all cells left of x, float64 [R], in the row of each run; table: float64 [3, R], (1, y,
    scratch)."""
    table[2] = x
    num, y, squares = table.dot(x).tolist()
    return Sums(int(num), int(squares - num) // 2, int(y))


def cut_runs(runs: Runs, one: Sums, two: Sums) -> tuple[Floats, int]:
    """Where the bisector of two centroids cuts each run: `at` and `left` of a `Cut`. Pixels exactly
    on it go to cluster 1."""
    (n1, x1, y1), (n2, x2, y2) = one, two
    dx, dy = n1 * x2 - n2 * x1, n1 * y2 - n2 * y1
    mx, my = n1 * x2 + n2 * x1, n1 * y2 + n2 * y1
    if dx == 0:  # a horizontal bisector: whole rows
        below = runs.y * float(2 * n1 * n2) - float(my)
        return np.where((below if dy > 0 else -below) <= 0, runs.stop, runs.start), 1
    at = _row_thresholds(runs.y, dx, dy, mx, my, n1 * n2)
    if dx > 0:
        np.floor(at, out=at)
        at += 1
    else:
        np.ceil(at, out=at)
    np.maximum(at, runs.start, out=at)
    np.minimum(at, runs.stop, out=at)
    return at, 1 if dx > 0 else 2


def _row_thresholds(y: Floats, dx: int, dy: int, mx: int, my: int, n1n2: int) -> Floats:
    """x at which each row y meets the bisector: float64 [R]. THE float formula; keep its order:

        (mx - dy / gcd * ((2 n1n2 y - my) / (dx / gcd))) / (2 n1n2)

    With c1 + c2 = m / n1n2 and c2 - c1 = d / n1n2, the bisector is d . (2 p - m / n1n2) = 0. Where
    a pixel lies exactly on it, dx / gcd divides the row term, so that every step is an integer
    below 2^53 and the tie is exact; a slope dy / dx would round some ties to cluster 2.
    """
    divisor = math.gcd(dx, dy)
    at = y * float(2 * n1n2)
    at -= float(my)
    at /= float(dx // divisor)
    at *= float(dy // divisor)
    np.subtract(float(mx), at, out=at)
    at /= float(2 * n1n2)
    return at


def principal_extremes(runs: Runs, everything: Moments) -> tuple[Cell, Cell]:
    """The two pixels (x, y) that lie farthest apart along the principal axis: ends of runs, and of
    rows.

    Ties go to the smallest y, then x.
    """
    vx, vy = _principal_axis(everything)
    x, y = runs.table[2].copy(), runs.table[1]
    x[1::2] -= 1
    along = vx * x + vy * y
    low, high = along.argmin(), along.argmax()
    return (int(x[low]), int(y[low])), (int(x[high]), int(y[high]))


def _principal_axis(everything: Moments) -> tuple[float, float]:
    """Direction of the largest eigenvalue of the pixels' covariance (x axis if there is none)."""
    n, sx, sy = everything[:3]
    a = n * everything.xx - sx * sx
    b = n * everything.xy - sx * sy
    c = n * everything.yy - sy * sy
    half = (a - c) / 2
    root = math.sqrt(half * half + float(b) * float(b))
    vx, vy = (half + root, float(b)) if half >= 0 else (float(b), root - half)
    return (vx, vy) if vx or vy else (1.0, 0.0)


def farthest_pair(cut: Cut) -> tuple[Cell, Cell]:
    """Exact farthest pair between the clusters (eq. 8): (x, y) of both.

    Ties go to the smallest y, then x, of the first point, then of the second. Distances are whole
    numbers, which float32 holds up to L = 2048.
    """
    one, two = _points(cut, 1), _points(cut, 2)
    i, j = divmod(int(one.T.dot(_SQUARED_DISTANCE.dot(two)).argmax()), two.shape[1])
    return (int(one[0, i]), int(one[1, i])), (int(two[0, j]), int(two[1, j]))


def _points(cut: Cut, cluster: int) -> NDArray[np.float32]:
    """Ends of a cluster's runs as columns (x, y, x x + y y, 1), by y, then x: float32 [4, 2 K]."""
    y, first, last = cut.ends(cluster)
    points = np.ones((4, len(y), 2), np.float32)
    points[0, :, 0], points[0, :, 1] = first, last
    points[1] = y[:, None]
    np.add(points[0] * points[0], points[1] * points[1], out=points[2])
    return points.reshape(4, -1)


_SQUARED_DISTANCE = np.array([[-2, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.float32)
"""A of p A q = |p - q|^2, for points (x, y, x x + y y, 1)."""
