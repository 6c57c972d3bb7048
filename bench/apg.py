"""Adaptive points on the CPU against what a user would write: `make bench`.

Ours: `contract.apg.adaptive_points`. Theirs: scikit-learn KMeans with the same start, then the
farthest pair by brute force over all pixels. Both on the same random masks, interleaved. Prints the
machine, a table and, as the last line, JSON.
"""

from __future__ import annotations

import json
import os
import platform
import time

import cv2
import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from apsam_serve.contract.apg import adaptive_points

SIDE = 128
NUM_MASKS = 60


def random_mask(number: int) -> NDArray[np.float32]:
    """Logits float32 [128, 128] of one or two turned bars or ellipses of 1 to 20 % of the grid."""
    rng = np.random.default_rng(number)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        centre = tuple(int(v) for v in rng.integers(30, 98, size=2))
        axes = int(rng.integers(8, 36)), int(rng.integers(3, 24))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return np.where(mask > 0, 1, -1).astype(np.float32)


def by_library(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """KMeans with K = 2 from the extremes along x + y, and the farthest pair of pixels."""
    pixels = np.argwhere(logits > 0)[:, ::-1].astype(np.float64)
    along = pixels.sum(axis=1)
    start = pixels[[along.argmin(), along.argmax()]]
    labels = KMeans(2, init=start, n_init=1, max_iter=20, tol=0).fit(pixels).labels_
    first, second = pixels[labels == 0], pixels[labels == 1]
    best = cdist(first, second).argmax()
    return np.stack([first[best // len(second)], second[best % len(second)]])


def main() -> None:
    """Time both on every mask, several times, best of each."""
    masks = [random_mask(number) for number in range(NUM_MASKS)]
    times: dict[str, list[float]] = {"apsam": [], "library": []}
    for logits in masks:
        for name, run in (
            ("apsam", lambda m=logits: adaptive_points(m, valid_cells=(SIDE, SIDE))),
            ("library", lambda m=logits: by_library(m)),
        ):
            rounds = []
            for _ in range(5):
                started = time.perf_counter()
                run()
                rounds.append(time.perf_counter() - started)
            times[name].append(min(rounds) * 1000)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    print(f"{machine}; numpy {np.__version__}, scikit-learn {sklearn.__version__}")
    print(f"{NUM_MASKS} masks of {SIDE} x {SIDE}, best of 5\n{'':<28}{'p50 ms':>9}{'p90 ms':>9}")
    for name, values in times.items():
        print(f"{name:<28}{np.percentile(values, 50):9.2f}{np.percentile(values, 90):9.2f}")
    ratio = float(np.median(np.array(times["library"]) / np.array(times["apsam"])))
    print(f"median ratio {ratio:.1f}x")
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(json.dumps({"benchmark": "apg", "p50_ms": medians, "ratio": ratio, "machine": machine}))


if __name__ == "__main__":
    main()
