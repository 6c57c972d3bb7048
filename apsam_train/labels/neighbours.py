"""Who lies beside whom among objects, and what the neighbours' labels say of an object's own.

An object's neighbours never come from its own bag: views of one bag show the same thing, and
whoever labelled one wrong labelled all of them wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

from apsam_train.categories import SUPERCLASS
from apsam_train.errors import DatasetError

Features = NDArray[np.float32]
"""[N, C], a row per object."""

_FEWEST_OTHERS = 3
"""A category with fewer objects in other bags cannot speak for one of its objects."""
_RARE = 10
"""A label with fewer objects than this is not suggested by being all of them."""


def normalised(features: Features) -> Features:
    """Rows about their common mean, of length 1: activations after GELU all share a large positive
    part, which would make everything alike."""
    centred = features - features.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Features = (centred / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def agree(one: str, other: str) -> bool:
    """Whether both names can be right: equal, or one is the superclass of the other."""
    return one == other or SUPERCLASS.get(one) == other or SUPERCLASS.get(other) == one


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """names: the K categories, sorted; code int64 [N]: each object's, by position; counts int64
    [N, K]: labels of its k nearest neighbours; others int64 [N, K]: objects outside its bag."""

    names: tuple[str, ...]
    code: NDArray[np.int64]
    counts: NDArray[np.int64]
    others: NDArray[np.int64]
    k: int

    @property
    def agreeing(self) -> NDArray[np.bool_]:
        """Whether two names `agree`, [K, K]."""
        return np.array([[agree(one, other) for other in self.names] for one in self.names])

    def own_support(self) -> NDArray[np.float64]:
        """Share from 0 to 1 of the neighbours that agree, of as many as could, [N]; NaN for an
        object of whose category too few others exist."""
        allowed = self.agreeing[self.code]
        possible = (self.others * allowed).sum(axis=1)
        support = (self.counts * allowed).sum(axis=1) / np.clip(possible, 1, self.k)
        return np.where(possible >= _FEWEST_OTHERS, np.minimum(support, 1), np.nan)

    def other_support(self) -> NDArray[np.float64]:
        """The same share for every label that does not agree with an object's own, [N, K]; 0 for
        those that do."""
        support = self.counts / np.clip(self.others, _RARE, max(_RARE, self.k))
        return np.where(self.agreeing[self.code], 0, np.minimum(support, 1))

    def agreement(self) -> float:
        """Mean of `own_support` over categories, each one's mean counting alike: how well features
        and labels fit; 0 when no object can be judged."""
        return self._over_categories(self.own_support())

    def chance(self) -> float:
        """What `agreement` would be if features knew nothing of labels."""
        possible = (self.others * self.agreeing[self.code]).sum(axis=1)
        drawn = self.k * possible / self.others.sum(axis=1)
        support = np.minimum(drawn / np.clip(possible, 1, self.k), 1)
        return self._over_categories(np.where(possible >= _FEWEST_OTHERS, support, np.nan))

    def _over_categories(self, own: NDArray[np.float64]) -> float:
        of_category = [own[self.code == number] for number in range(len(self.names))]
        means = [known.mean() for part in of_category if len(known := part[~np.isnan(part)])]
        return float(np.mean(means)) if means else 0.0


def neighbourhood(
    unit: Features, *, categories: Sequence[str], bags: Sequence[str], k: int
) -> Neighbourhood:
    """The k nearest of every object by cosine. unit: `normalised`. Raises DatasetError when some
    object has no k others outside its bag."""
    names, code = np.unique(np.array(categories), return_inverse=True)
    _, bag = np.unique(np.array(bags), return_inverse=True)
    in_bag = np.zeros((bag.max() + 1, len(names)), np.int64)
    np.add.at(in_bag, (bag, code), 1)
    others = in_bag.sum(axis=0) - in_bag[bag]
    fewest = int(others.sum(axis=1).min())
    if fewest < k:
        raise DatasetError(
            f"{len(code)} objects in {bag.max() + 1} bags leave {fewest} outside the largest bag, "
            f"fewer than the {k} neighbours asked for; give more images or lower --neighbours"
        )

    def nearest(distances: NDArray[np.float32], first: int) -> NDArray[np.int64]:
        rows = slice(first, first + len(distances))
        distances[bag[rows, None] == bag[None]] = np.inf
        found: NDArray[np.int64] = np.argpartition(distances, k - 1, axis=1)[:, :k]
        return found

    parts = pairwise_distances_chunked(unit, metric="cosine", reduce_func=nearest)
    indices = np.concatenate(list(parts))
    counts = np.zeros((len(code), len(names)), np.int64)
    np.add.at(counts, (np.arange(len(code))[:, None], code[indices]), 1)
    return Neighbourhood(
        names=tuple(str(name) for name in names), code=code, counts=counts, others=others, k=k
    )
