"""Adaptive points on the CPU against what a user would write.

    python -m bench.apg [--rounds 10] [--masks 60]

Ours: `contract.apg.adaptive_points`. Theirs: the pixels of the mask, K-means with K = 2, and the
farthest pair by brute force over all pixels of both clusters. All on the same masks, in turns.
Beside the time stands how often the pair is that of Lloyd's algorithm in whole numbers.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from apsam_serve.contract.apg import adaptive_points
from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_serve.contract.runs import Runs
from apsam_serve.contract.two_means import principal_extremes
from bench.apg_masks import IN_BAGS, OBJECTS, SIDE, Logits, mask_sets
from bench.measure.distribution import Interval, ratio, typical
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import guarded, positive
from bench.measure.points import same_points
from bench.measure.rounds import interleaved

Floats = NDArray[np.float64]
OURS = "APSAM"
DEFAULTS = "scikit-learn KMeans(2)"
OUR_START = "scikit-learn KMeans, our start, n_init=1"
FAISS = "faiss Kmeans"
NUMPY = "NumPy Lloyd, our start"
_ITERATIONS = 20
_UNTIMED = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """logits float32 [128, 128]; start: both ends of the principal axis, float64 [2, 2] (x, y),
    given to whoever wants it for nothing; pair: the exact answer, float64 [2, 2]."""

    logits: Logits
    start: Floats
    pair: Floats

    @classmethod
    def of(cls, logits: Logits) -> Task:
        runs = Runs.above(logits, 0, (SIDE, SIDE))
        start = np.array(principal_extremes(runs, runs.moments()), np.float64)
        pixels = _pixels(logits)
        return cls(logits=logits, start=start, pair=_pair(pixels, exact_labels(pixels, start)))


def ours(task: Task) -> Floats:
    """In cells, as all answers."""
    found = adaptive_points(task.logits, valid_cells=(SIDE, SIDE))
    return found.points.astype(np.float64) / MASK_STRIDE - 0.5


def by_defaults(task: Task) -> Floats:
    """As most people would write it."""
    pixels = _pixels(task.logits)
    return _pair(pixels, KMeans(2, random_state=0).fit(pixels).labels_)


def by_our_start(task: Task) -> Floats:
    """The same algorithm as ours."""
    pixels = _pixels(task.logits)
    means = KMeans(2, init=task.start, n_init=1, max_iter=_ITERATIONS, tol=0, algorithm="lloyd")
    return _pair(pixels, means.fit(pixels).labels_)


def by_faiss(task: Task) -> Floats:
    """Its defaults but for the warning about few pixels, and the iterations of ours."""
    pixels = _pixels(task.logits)
    means = importlib.import_module("faiss").Kmeans(
        2, 2, niter=_ITERATIONS, seed=0, min_points_per_centroid=1
    )
    means.train(pixels.astype(np.float32))
    return _pair(pixels, means.index.search(pixels.astype(np.float32), 1)[1][:, 0])


def by_numpy(task: Task) -> Floats:
    """Distances of every pixel to both centroids, until no label changes."""
    pixels, centroids = _pixels(task.logits), task.start
    labels = np.zeros(0, int)
    for _ in range(_ITERATIONS):
        before = labels
        labels = ((pixels[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
        if np.array_equal(labels, before):
            break
        centroids = np.stack([pixels[labels == 0].mean(axis=0), pixels[labels == 1].mean(axis=0)])
    return _pair(pixels, labels)


WAYS: dict[str, Callable[[Task], Floats]] = {
    OURS: ours,
    DEFAULTS: by_defaults,
    OUR_START: by_our_start,
    FAISS: by_faiss,
    NUMPY: by_numpy,
}


def exact_labels(pixels: Floats, start: Floats) -> NDArray[np.int64]:
    """Lloyd's algorithm in Python integers of any size; pixels between both go to the first."""
    x, y = pixels.astype(int).astype(object).T
    (x1, y1), (x2, y2) = start.astype(int).tolist()
    n1 = n2 = 1
    labels = np.zeros(0, np.int64)
    for _ in range(_ITERATIONS):
        scale, before = 2 * n1 * n2, labels
        in_x = (n1 * x2 - n2 * x1) * (scale * x - (n1 * x2 + n2 * x1))
        in_y = (n1 * y2 - n2 * y1) * (scale * y - (n1 * y2 + n2 * y1))
        labels = (in_x + in_y > 0).astype(np.int64)
        if np.array_equal(labels, before):
            break
        n2, x2, y2 = (int(v) for v in (labels.sum(), x @ labels, y @ labels))
        n1, x1, y1 = len(x) - n2, int(x.sum()) - x2, int(y.sum()) - y2
    return labels


def _pixels(logits: Logits) -> Floats:
    """(x, y) of the foreground, float64 [N, 2]."""
    return np.argwhere(logits > 0)[:, ::-1].astype(np.float64)


def _pair(pixels: Floats, labels: NDArray[np.integer]) -> Floats:
    """The farthest pair between both clusters by brute force: float64 [2, 2]."""
    first, second = pixels[labels == 0], pixels[labels == 1]
    best = int(cdist(first, second).argmax())
    return np.stack([first[best // len(second)], second[best % len(second)]])


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=positive, default=10, help="(%(default)s)")
    parser.add_argument("--masks", type=positive, default=60, help="per set (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds (%(default)s)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    ways = {name: way for name, way in WAYS.items() if name != FAISS or find_spec("faiss")}
    rows = []
    for group, masks in mask_sets(options.masks).items():
        tasks = [Task.of(logits) for logits in masks]
        taken = timed(ways, tasks, rounds=options.rounds, pause_s=options.pause)
        rows += [_row(name, group, tasks, taken.get(name)) for name in WAYS]
    document = Document(
        benchmark="apg",
        settings={"rounds": options.rounds, "masks": options.masks, "cores": os.cpu_count()},
        rows=rows,
        figures=_figures(rows),
    )
    publish(document, json_path=options.json)
    return 0


def timed(
    ways: Mapping[str, Callable[[Task], Floats]],
    tasks: Sequence[Task],
    *,
    rounds: int,
    pause_s: float,
) -> dict[str, list[float]]:
    """ms of every call. Each way goes through all masks once a round. Before that come a pause, in
    which the threads of the library before it fall asleep, and some masks that do not count,
    because a core that has slept is slow to wake."""
    taken: dict[str, list[float]] = {name: [] for name in ways}

    def through(name: str) -> None:
        for task in tasks[:_UNTIMED]:
            ways[name](task)
        for task in tasks:
            started = time.perf_counter()
            ways[name](task)
            taken[name].append(1000 * (time.perf_counter() - started))

    cases = {name: lambda name=name: through(name) for name in ways}
    interleaved(cases, rounds=rounds, warm_up=1, pause_s=pause_s)
    return {name: values[len(tasks) :] for name, values in taken.items()}


def _row(name: str, group: str, tasks: Sequence[Task], taken: Sequence[float] | None) -> Row:
    """Nothing but a note for a library that is not installed."""
    if taken is None:
        return Row(name=name, group=group, samples=[], note="not installed, not run")
    pairs = [(WAYS[name](task), task.pair) for task in tasks]
    return Row(
        name=name,
        group=group,
        samples=taken,
        figures={
            "share_same_points": float(np.mean([same_points(*pair) for pair in pairs])),
            "share_same_distance": float(np.mean([_length(a) == _length(b) for a, b in pairs])),
            "pixels_p50": float(np.median([(task.logits > 0).sum() for task in tasks])),
        },
    )


def _length(pair: Floats) -> float:
    """Squared: a whole number."""
    dx, dy = pair[0] - pair[1]
    return float(dx * dx + dy * dy)


def _figures(rows: Sequence[Row]) -> list[Figure]:
    """Against scikit-learn on two sets, for the smaller a mask the less there is to save."""
    by_place = {(row.group, row.name): row for row in rows}
    groups = list(dict.fromkeys(row.group for row in rows))
    ms = {group: typical(by_place[group, OURS].samples) for group in groups}

    def times(name: str, group: str) -> Interval:
        theirs, mine = (by_place[group, who].samples for who in (name, OURS))
        return ratio(theirs, mine, paired=True)

    def against(key: str, group: str, also: Sequence[str]) -> Figure:
        found = times(DEFAULTS, group)
        pixels = by_place[group, OURS].figures["pixels_p50"]
        return Figure(
            key=key,
            value=found.value,
            low=found.low,
            high=found.high,
            detail=f"p50 against {DEFAULTS} as a user writes it, median of {pixels:.0f} pixels; "
            + "; ".join([f"with our start, n_init=1 {times(OUR_START, group).value:.1f}", *also]),
        )

    others = [group for group in groups if group not in (OBJECTS, IN_BAGS)]
    also = [f"KMeans(2) on {group} {times(DEFAULTS, group).value:.1f}" for group in others]
    return [
        Figure(
            key="apg_ms",
            value=ms[OBJECTS].value,
            low=ms[OBJECTS].low,
            high=ms[OBJECTS].high,
            detail=f"p50, {OBJECTS} of 128 x 128; "
            + "; ".join(f"{group} {ms[group].value:.3f}" for group in groups if group != OBJECTS),
        ),
        against("apg_vs_scikit_learn", OBJECTS, also),
        against("apg_vs_scikit_learn_bags", IN_BAGS, ()),
    ]


if __name__ == "__main__":
    sys.exit(main())
