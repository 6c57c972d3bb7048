"""The Adaptive Point Generator (paper 4.4, eq. 7-9): one coarse click becomes two points.

This is the reference: exact, deterministic, and fast because it works on the runs of a mask
(contract/runs) and not on its pixels: K-means with K = 2, then the farthest pair between both
clusters (contract/two_means).

Coordinates: cells (x, y) of the L x L grid inside; model pixels in `ApgResult`, where cell (x, y)
stands for ((x + 0.5) S / L, (y + 0.5) S / L).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_serve.contract.runs import Cut, Runs
from apsam_serve.contract.two_means import farthest_pair, two_means

Branch = Literal["clusters", "fallback", "empty"]
Fallback = Literal["foreground", "box"]
Box = tuple[float, float, float, float]
Point = tuple[float, float]


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
    box: (left, top, right, bottom) of B in model pixels; centroids: float64 [2, 2] in model pixels,
    NaN where there are none; cut: which pixels each cluster has."""

    points: NDArray[np.float32]
    branch: Branch
    box: Box
    centroids: NDArray[np.float64]
    cut: Cut

    @cached_property
    def assignment(self) -> NDArray[np.int8]:
        """int8 [L, L]: 1 and 2 for the clusters, 0 elsewhere; without clusters 1 for all pixels."""
        return self.cut.assignment()


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
    box, runs = _scaled_box(_foreground(logits, valid_cells, config.core), valid_cells, config)
    if len(runs) == 0:
        return _result([], "empty", box, Cut.none(runs))
    everything = runs.moments()
    if everything.num > 1:
        cut, one, two = two_means(runs, everything, config.max_iterations)
        centroids = (one.x / one.num, one.y / one.num), (two.x / two.num, two.y / two.num)
        if _distance(*centroids) * MASK_STRIDE > config.tau:
            cells = farthest_pair(cut)
            return _result(_in_model_pixels(cells), "clusters", box, cut, centroids)
    points = _fallback(runs, everything.num, box, config)
    return _result(points, "fallback", box, Cut.none(runs))


def _foreground(logits: NDArray[np.float32], valid_cells: tuple[int, int], core: float) -> Runs:
    inner = Runs.above(logits, core, valid_cells)
    return inner if len(inner) or core == 0 else Runs.above(logits, 0, valid_cells)


def _scaled_box(runs: Runs, valid_cells: tuple[int, int], config: ApgConfig) -> tuple[Box, Runs]:
    """B of eq. 7 in model pixels, clipped to the image, and the foreground inside it."""
    if len(runs) == 0:
        return (0.0, 0.0, 0.0, 0.0), runs
    spans = []
    for axis, (begin, end) in enumerate(runs.extents()):
        reach = (end - begin) / 2 * _scale(config, axis)
        middle = (begin + end) / 2
        spans.append((max(0.0, middle - reach), min(float(valid_cells[1 - axis]), middle + reach)))
    columns, rows = (left, right), (top, bottom) = spans
    if config.scale_range != (1.0, 1.0):
        runs = runs.within(columns, rows)
    stride = float(MASK_STRIDE)
    return (left * stride, top * stride, right * stride, bottom * stride), runs


def _scale(config: ApgConfig, axis: int) -> float:
    low, high = config.scale_range
    return low if low == high else low + (high - low) * _uniform(config.seed, 2 + axis)


def _fallback(runs: Runs, num_pixels: int, box: Box, config: ApgConfig) -> list[Point]:
    """Two seeded uniform draws, in model pixels (eq. 9).

    "foreground" draws pixels of the mask, because a point of the box that is off the object is a
    wrong positive click; "box" is the literal paper.
    """
    draws = (_uniform(config.seed, 0), _uniform(config.seed, 1))
    if config.fallback == "foreground":
        return _in_model_pixels([runs.pixel(int(u * num_pixels)) for u in draws])
    left, top, right, bottom = box
    heights = (_uniform(config.seed, 4), _uniform(config.seed, 5))
    return [
        (left + (right - left) * u, top + (bottom - top) * v)
        for u, v in zip(draws, heights, strict=True)
    ]


def _distance(one: Point, two: Point) -> float:
    dx, dy = two[0] - one[0], two[1] - one[1]
    return math.sqrt(dx * dx + dy * dy)


def _in_model_pixels(cells: Sequence[Point]) -> list[Point]:
    return [((x + 0.5) * MASK_STRIDE, (y + 0.5) * MASK_STRIDE) for x, y in cells]


def _uniform(seed: int, draw: int) -> float:
    """Draw number `draw` of a seed in [0, 1): splitmix64, the same on every device."""
    mask = (1 << 64) - 1
    z = (seed + (draw + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def _result(
    points: Sequence[Point],
    branch: Branch,
    box: Box,
    cut: Cut,
    centroids: Sequence[Point] = ((math.nan, math.nan), (math.nan, math.nan)),
) -> ApgResult:
    return ApgResult(
        points=np.array(points, np.float32).reshape(-1, 2),
        branch=branch,
        box=box,
        centroids=np.array(_in_model_pixels(centroids)),
        cut=cut,
    )
