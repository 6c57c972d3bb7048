"""Objects whose label their neighbours contradict, and pairs of categories that lie mixed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from apsam_train.labels.neighbours import Neighbourhood


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An object, by position. score: support of the suggested label less that of its own, the
    higher the more suspect; see `Neighbourhood` for supports."""

    position: int
    category: str
    suggested: str
    score: float
    own_support: float
    suggested_support: float


def find_suspects(near: Neighbourhood, *, least_score: float) -> list[Suspect]:
    """Objects of at least this score, the most suspect first."""
    own, other = near.own_support(), near.other_support()
    best = other.argmax(axis=1)
    score = other.max(axis=1) - own
    found = [
        Suspect(
            position=int(i),
            category=near.names[near.code[i]],
            suggested=near.names[best[i]],
            score=float(score[i]),
            own_support=float(own[i]),
            suggested_support=float(other[i, best[i]]),
        )
        for i in np.flatnonzero(score >= least_score)
    ]
    return sorted(found, key=lambda one: (-one.score, one.position))


@dataclass(frozen=True, kw_only=True)
class MixedPair:
    """Two categories. rate: from 0, told apart, to 0.5, as if their labels were drawn by lot."""

    names: tuple[str, str]
    num_objects: tuple[int, int]
    rate: float


def find_mixed_pairs(near: Neighbourhood, *, fewest: int, least_rate: float) -> list[MixedPair]:
    """Pairs of categories of at least `fewest` objects each, the most mixed first.

    Of a category's neighbours that have one of both labels, the share with the other one, as if
    both were equally frequent; the mean of both directions. Names that agree (a superclass and its
    category) are no pair.
    """
    sizes = np.bincount(near.code, minlength=len(near.names))
    rates = np.stack([near.counts[near.code == i].sum(axis=0) for i in range(len(sizes))]) / sizes
    agreeing = near.agreeing
    pairs = []
    for a, b in combinations(np.flatnonzero(sizes >= fewest).tolist(), 2):
        mixing = [_share(rates[a, b], rates[a, a]), _share(rates[b, a], rates[b, b])]
        rate = float(np.mean(mixing))
        if rate >= least_rate and not agreeing[a, b]:
            pairs.append(
                MixedPair(
                    names=(near.names[a], near.names[b]),
                    num_objects=(int(sizes[a]), int(sizes[b])),
                    rate=rate,
                )
            )
    return sorted(pairs, key=lambda pair: (-pair.rate, pair.names))


def _share(other: float, own: float) -> float:
    return other / (other + own) if other + own else 0.0
