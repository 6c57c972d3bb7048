"""Categories that look like two kinds of things (paper 3.4: Scissors by their handles).

In many dimensions the silhouette of a two-way split says little: two well separated kinds score
lower than one elongated kind, because the other dimensions' noise dilutes it. Along the line
between both centres it does say something: a normal distribution scores 0.56 to 0.65 whatever its
shape, two kinds 5 deviations apart 0.75. Few objects in many dimensions can be split well by
chance, so the same split of normally distributed objects of the same number and shape has to be
clearly worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from apsam_train.labels.neighbours import Features

_MOST_DIMENSIONS = 8
_MOST_OBJECTS = 2000
"""A split is decided on at most so many objects, drawn by lot: silhouettes cost their square."""
_NUM_CHANCE, _OVER_CHANCE = 100, 0.05
_FEWEST, _SMALLEST_PART = 5, 0.1
"""Fewer objects, or a smaller share of them, are exceptions and no kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoKinds:
    """A category that looks like two. parts: positions of both kinds' objects, the larger kind
    first, in each the most typical object first; chance: the best silhouette of objects without
    kinds."""

    category: str
    parts: tuple[NDArray[np.int64], NDArray[np.int64]]
    silhouette: float
    chance: float


def find_two_kinds(
    features: Features,
    categories: Sequence[str],
    *,
    without: Sequence[int],
    fewest: int,
    least_silhouette: float,
    seed: int,
) -> list[TwoKinds]:
    """Of categories with at least `fewest` objects those that split well, the best split first.

    features: as they were read: scaled to length 1, a category beside their mean would be torn
    apart into directions. without: positions of objects that are left out, because another category
    claims them.
    """
    kept = np.ones(len(categories), bool)
    kept[list(without)] = False
    names = np.array(categories)
    found = []
    for name in sorted(set(categories)):
        positions = np.flatnonzero((names == name) & kept)
        if len(positions) >= fewest:
            kinds = _split(features, positions, name, least_silhouette, seed)
            found += [] if kinds is None else [kinds]
    return sorted(found, key=lambda one: (-one.silhouette, one.category))


def _split(
    features: Features, positions: NDArray[np.int64], name: str, least: float, seed: int
) -> TwoKinds | None:
    rng = np.random.default_rng(seed)
    chosen = positions
    if len(positions) > _MOST_OBJECTS:
        chosen = np.sort(rng.choice(positions, _MOST_OBJECTS, replace=False))
    dimensions = min(_MOST_DIMENSIONS, len(chosen) // 4, features.shape[1])
    pca = PCA(dimensions, svd_solver="full").fit(features[chosen].astype(np.float64))
    points = pca.transform(features[chosen].astype(np.float64))
    # Objects that are all alike have no two kinds, and no two centres either.
    if len(np.unique(points.round(6), axis=0)) < 2 * _FEWEST:
        return None
    means, silhouette = _two_means(points, seed)
    if silhouette < least:
        return None
    shape = points.std(axis=0)
    chance = max(
        _two_means(rng.normal(size=points.shape) * shape, seed)[1] for _ in range(_NUM_CHANCE)
    )
    if silhouette < chance + _OVER_CHANCE:
        return None
    everyone = pca.transform(features[positions].astype(np.float64))
    part, distance = means.predict(everyone), means.transform(everyone).min(axis=1)
    order = np.argsort(distance, kind="stable")
    parts = sorted((positions[order[part[order] == i]] for i in (0, 1)), key=lambda p: -len(p))
    if len(parts[1]) < max(_FEWEST, _SMALLEST_PART * len(positions)):
        return None
    return TwoKinds(category=name, parts=(parts[0], parts[1]), silhouette=silhouette, chance=chance)


def _two_means(points: NDArray[np.float64], seed: int) -> tuple[KMeans, float]:
    """Two means of points [N, D], and the silhouette of their split on the line between them."""
    means = KMeans(2, n_init=3, random_state=seed).fit(points)
    one, other = means.cluster_centers_
    line = points @ (other - one)
    return means, float(silhouette_score(line[:, None], means.labels_))
