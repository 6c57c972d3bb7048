"""Adaptive points as a user would write them: scikit-learn, then a brute-force pair by SciPy.

The same points as `contract.apg`, from which it takes what a library cannot know: the start, which
pixels count, and what happens where there are no two clusters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from apsam_serve.contract.apg import ApgConfig, adaptive_points
from apsam_serve.contract.preprocess import MASK_STRIDE

Pixels = NDArray[np.int64]


def two_points(
    logits: NDArray[np.float32], *, valid_cells: tuple[int, int], config: ApgConfig
) -> NDArray[np.float32]:
    """Logits [L, L] to points float32 [2, 2] (x, y) in model pixels, [0, 2] from an empty mask."""
    on_image = logits[: valid_cells[0], : valid_cells[1]]
    core = on_image > config.core
    pixels = np.argwhere(core if core.any() else on_image > 0)[:, ::-1]
    if len(pixels) < 2:
        return _by_contract(logits, valid_cells, config)
    start = pixels[_principal_extremes(pixels)].astype(np.float64)
    means = KMeans(2, init=start, n_init=1, max_iter=config.max_iterations, tol=0).fit(pixels)
    if not np.linalg.norm(np.subtract(*means.cluster_centers_)) * MASK_STRIDE > config.tau:
        return _by_contract(logits, valid_cells, config)
    first, second = pixels[means.labels_ == 0], pixels[means.labels_ == 1]
    best = int(cdist(first, second).argmax())
    pair = np.stack([first[best // len(second)], second[best % len(second)]])
    return ((pair + 0.5) * MASK_STRIDE).astype(np.float32)


def _by_contract(
    logits: NDArray[np.float32], valid_cells: tuple[int, int], config: ApgConfig
) -> NDArray[np.float32]:
    """Masks of a few cells, whose points are drawn: everybody has to draw the same ones."""
    return adaptive_points(logits, valid_cells=valid_cells, config=config).points


def _principal_extremes(pixels: Pixels) -> list[int]:
    """The first and the last of pixels [N, 2] along their principal axis; in integers until the
    root, because the ties of symmetric masks must fall as they do in the contract."""
    count = len(pixels)
    total = pixels.sum(axis=0)
    (a, b), (_, c) = (count * (pixels.T @ pixels) - np.outer(total, total)).tolist()
    half = (a - c) / 2
    root = float(np.sqrt(half * half + float(b) * float(b)))
    axis = (half + root, float(b)) if half >= 0 else (float(b), root - half)
    vx, vy = axis if any(axis) else (1.0, 0.0)
    along = vx * pixels[:, 0] + vy * pixels[:, 1]
    return [int(along.argmin()), int(along.argmax())]
