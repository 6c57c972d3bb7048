"""A mask as runs of pixels, which are all that cutting each of its rows once takes.

A row is few runs, mostly one, and sums over the pixels left of a cut are closed forms of where the
cut crosses them: for R runs O(R), and nothing of L x L but finding them. All coordinates are cells,
as whole numbers in float64, which is exact up to 2^53; no sum here, and nothing that decides a
tie in `two_means`, exceeds L^5 / 2, which stays below that up to L = 1024.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MANY_RUNS = 150
"""From here on it is quicker to look for the extremes of each row than to take all ends."""


class Sums(NamedTuple):
    """Of pixels: how many there are, and the sums of x and of y."""

    num: int
    x: int
    y: int

    def minus(self, other: Sums) -> Sums:
        return Sums(self.num - other.num, self.x - other.x, self.y - other.y)


class Moments(NamedTuple):
    """Sums of 1, x, y, x x, x y and y y over pixels."""

    num: int
    x: int
    y: int
    xx: int
    xy: int
    yy: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs [start, stop) of row y, none empty, sorted by y, then x. table: float64 [3, 2 R], (1, y,
    x) of start, stop, start, stop, ...; shape: (height, width) of the mask."""

    table: Floats
    shape: tuple[int, int]

    @classmethod
    def above(
        cls, logits: NDArray[np.float32], threshold: float, valid_cells: tuple[int, int]
    ) -> Runs:
        """The pixels of logits [L, L] that exceed a threshold, in the valid (rows, columns)."""
        valid = logits[: valid_cells[0], : valid_cells[1]]
        height, width = valid.shape
        stride = width + 1  # with a column of background, where every run of its row ends
        flat = np.zeros(1 + height * stride, bool)
        np.greater(valid, threshold, out=flat[1:].reshape(height, stride)[:, :width])
        ends = (flat[1:] != flat[:-1]).nonzero()[0]
        table = np.empty((3, len(ends)))
        table[0] = 1
        np.divmod(ends, stride, out=(table[1], table[2]))
        return cls(table=table, shape=(logits.shape[0], logits.shape[1]))

    def __len__(self) -> int:
        return int(self.table.shape[1]) // 2

    @cached_property
    def y(self) -> Floats:
        return self.table[1, ::2].copy()

    @cached_property
    def start(self) -> Floats:
        return self.table[2, ::2].copy()

    @cached_property
    def stop(self) -> Floats:
        return self.table[2, 1::2].copy()

    def extents(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(left, right), (top, bottom), the last ones exclusive; of at least one run."""
        _, y, x = self.table
        left, right = x[x.argmin()], x[x.argmax()]
        return (float(left), float(right)), (float(y[0]), float(y[-1]) + 1)

    def within(self, columns: tuple[float, float], rows: tuple[float, float]) -> Runs:
        """The pixels whose middles lie between (low, high) of both, ends included."""
        first, last = np.ceil(columns[0] - 0.5), np.floor(columns[1] - 0.5)
        table = self.table.copy()
        table[2] = np.minimum(np.maximum(table[2], first), last + 1)
        middle = table[1, ::2] + 0.5
        kept = (table[2, ::2] < table[2, 1::2]) & (middle >= rows[0]) & (middle <= rows[1])
        return Runs(table=table[:, kept.repeat(2)], shape=self.shape)

    def moments(self) -> Moments:
        """Of all pixels. Over a run, sums of powers of x are polynomials of its ends e: of 1, e; of
        x, (e e - e) / 2; of x x, (2 e e e - 3 e e + e) / 6; each at its stop less at its start. One
        matrix product of (1, y, e) holds all that they need."""
        signed = self.table[2].copy()
        signed[::2] *= -1
        (e, ye, ee), (_, yye, yee), (_, _, eee) = (self.table * signed).dot(self.table.T).tolist()
        num, y, yy = int(e), int(ye), int(yye)
        return Moments(
            num=num,
            x=(int(ee) - num) // 2,
            y=y,
            xx=(2 * int(eee) - 3 * int(ee) + num) // 6,
            xy=(int(yee) - y) // 2,
            yy=yy,
        )

    def pixel(self, number: int) -> tuple[int, int]:
        """(x, y) of a pixel by its number from the top left, row by row."""
        before = np.concatenate([[0], np.cumsum(self.stop - self.start)])
        run = int(np.searchsorted(before, number, side="right")) - 1
        return int(self.start[run] + number - before[run]), int(self.y[run])


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """A two-way cut of a mask. Its runs belong to cluster `left`, 1 or 2, before `at`, float64 [R]
    with start <= at <= stop, and to the other one from there on."""

    runs: Runs
    at: Floats
    left: int

    @classmethod
    def none(cls, runs: Runs) -> Cut:
        """All pixels in cluster 1."""
        return cls(runs=runs, at=runs.stop, left=1)

    def ends(self, cluster: int) -> tuple[Floats, Floats, Floats]:
        """Runs of a cluster with its row extremes among their ends: (y, first x, last x), each
        float64 [K], sorted. Of many runs just those between the extremes of each row."""
        y, start, stop = self.runs.y, self.runs.start, self.runs.stop
        start, stop = (start, self.at) if cluster == self.left else (self.at, stop)
        kept = start < stop
        y, start, stop = y[kept], start[kept], stop[kept]
        if len(y) > _MANY_RUNS:
            first = np.concatenate([[True], y[1:] != y[:-1]])
            y, start, stop = y[first], start[first], stop[np.roll(first, -1)]
        return y, start, stop - 1

    def assignment(self) -> NDArray[np.int8]:
        """int8 [L, L]: 1 and 2 for the clusters, 0 elsewhere."""
        height, width = self.runs.shape
        steps = np.zeros((height, width + 1), np.int8)
        y, right = self.runs.y.astype(int), 3 - self.left
        steps[y, self.runs.start.astype(int)] += self.left
        steps[y, self.at.astype(int)] += right - self.left
        steps[y, self.runs.stop.astype(int)] -= right
        return steps.cumsum(axis=1, dtype=np.int8)[:, :width]
