"""Copies: equal files, and pictures that are the same but for encoding, size, tone or a thin edge.

Of several copies the one with most objects stays, then the first in order of the sources. Images
are compared with what is kept, never along a chain: whatever is dropped is close to what stays.

Two images that look alike both stay when they belong to one split of one source and are views of
one bag, or differ in their objects: a hash cannot see that a bag was scanned again with a knife in
it, the annotation says so. (Two sources name things differently, and equal files are equal.) What
stays for this reason is told, and its bags are tied: `split` puts them into one split.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_train.curate.phash import (
    ORIENTATIONS,
    coarse_words,
    fine_words,
    from_hex,
    near_pairs,
    oriented,
)
from apsam_train.curate.record import Duplicate, Link, Record
from apsam_train.errors import ConfigError

POSITION = 40
DEFAULT_DISTANCE = 6
MAX_FINE_DISTANCE = 40
"""Bits of 255 in which copies differ at most, chosen by `bench.near_duplicates`."""
_MOST_DISTANCE = 16

Neighbour = tuple[int, int, int]
"""(number of the other hash, distance, orientation)."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--near-distance",
        type=int,
        default=DEFAULT_DISTANCE,
        metavar="D",
        help=f"bits of 64 in which hashes of copies differ at most (default {DEFAULT_DISTANCE})",
    )
    parser.add_argument(
        "--mirrors", action="store_true", help="mirrored and turned pictures are copies, too"
    )


def from_args(args: argparse.Namespace) -> Duplicates:
    return Duplicates(near_distance=args.near_distance, mirrors=args.mirrors)


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Drops copies. near_distance: see `near_neighbours`; mirrors: in any of eight orientations."""

    near_distance: int = DEFAULT_DISTANCE
    mirrors: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.near_distance <= _MOST_DISTANCE:
            raise ConfigError(
                f"--near-distance is {self.near_distance}: expected 0 to {_MOST_DISTANCE}; "
                f"{DEFAULT_DISTANCE} is usual"
            )

    def options(self) -> dict[str, Any]:
        return {"--near-distance": self.near_distance, "--mirrors": self.mirrors}

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        found = _Found(records)
        best_first = sorted(range(len(records)), key=lambda i: (-len(records[i].categories), i))
        _drop_equal_files(found, best_first)
        left = [i for i in best_first if i not in found.dropped]
        _drop_near(found, left, self.near_distance, mirrors=self.mirrors)
        alike = [[records[a].id, records[b].id] for a, b in found.alike]
        return found.judged(), {"alike_kept": alike}


def near_hashes(
    bits: NDArray[np.bool_], near_distance: int, *, mirrors: bool = False
) -> dict[int, list[Neighbour]]:
    """Of different hashes [N, 16, 16]: each one's copies, itself first.

    Copies differ in at most `near_distance` of the 64 coarse bits, and in at most
    `MAX_FINE_DISTANCE` of all; mirrors: one of them turned or mirrored.
    """
    coarse, fine = coarse_words(bits), fine_words(bits)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for orientation in range(len(ORIENTATIONS) if mirrors else 1):
        other = oriented(bits, orientation)
        other_coarse, other_fine = coarse_words(other), fine_words(other)
        for i, j in near_pairs(coarse, other_coarse, near_distance):
            confirmed = np.bitwise_count(fine[i] ^ other_fine[j]).sum(axis=1) <= MAX_FINE_DISTANCE
            i, j = i[confirmed], j[confirmed]
            distances = np.bitwise_count(coarse[i] ^ other_coarse[j])
            rows = np.stack([i, j, distances], axis=1).tolist()
            for first, second, distance in rows:
                best = found.get((first, second), (distance, orientation))
                found[first, second] = min(best, (distance, orientation))
    near: dict[int, list[Neighbour]] = {number: [(number, 0, 0)] for number in range(len(bits))}
    for (first, second), (distance, orientation) in sorted(found.items()):
        near[first].append((second, distance, orientation))
        near[second].append((first, distance, orientation))
    return near


class _Found:
    """What was found of records, by their place in the list; `judged` puts it into them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.dropped: dict[int, Record] = {}
        self.alike: list[tuple[int, int]] = []
        self._links: dict[int, set[Link]] = defaultdict(set)

    def drop(self, kept: int, copy: int, *, distance: int | None, orientation: int) -> None:
        """Drop a copy of what is kept."""
        keeper, record = self.records[kept], self.records[copy]
        same = keeper.has_objects_of(record)
        reason = "equal file" if distance is None else "near duplicate"
        self.dropped[copy] = replace(
            record,
            dropped=reason if same else f"{reason}, other objects",
            duplicate=Duplicate(
                of=keeper.id,
                distance=distance,
                orientation=ORIENTATIONS[orientation],
                same_objects=same,
            ),
        )
        self._tie(kept, copy)

    def keep_both(self, first: int, second: int) -> None:
        """Two that look alike and stay."""
        self.alike.append((first, second))
        self._tie(first, second)

    def judged(self) -> list[Record]:
        """All records in their order."""
        judged = [self.dropped.get(i, record) for i, record in enumerate(self.records)]
        for i, links in self._links.items():
            if i not in self.dropped:
                ties = sorted(links, key=lambda link: (link.bag, link.split))
                judged[i] = replace(judged[i], linked=tuple(ties))
        return judged

    def _tie(self, kept: int, other: int) -> None:
        bag, split = self.records[other].bag_id, self.records[other].split
        self._links[kept] |= self._links.get(other, set())
        if bag != self.records[kept].bag_id:
            self._links[kept].add(Link(bag=bag, split=split))


def _drop_equal_files(found: _Found, best_first: list[int]) -> None:
    kept: dict[str, int] = {}
    for i in best_first:
        best = kept.setdefault(found.records[i].sha256, i)
        if best != i:
            found.drop(best, i, distance=None, orientation=0)


def _drop_near(found: _Found, left: list[int], near_distance: int, *, mirrors: bool) -> None:
    """Drop near copies; `left`: the best first."""
    if not left:
        return
    # Many pictures may have one hash (empty trays): they are compared as one.
    hashes = from_hex([found.records[i].phash for i in left])
    unique, inverse = np.unique(hashes.reshape(len(left), -1), axis=0, return_inverse=True)
    numbers = inverse.reshape(-1).tolist()
    near = near_hashes(unique.reshape(-1, *hashes.shape[1:]), near_distance, mirrors=mirrors)
    undecided: dict[int, list[int]] = defaultdict(list)
    for i, number in zip(left, numbers, strict=True):
        undecided[number].append(i)
    for kept, number in zip(left, numbers, strict=True):
        if kept in found.dropped:
            continue
        undecided[number].remove(kept)
        for neighbour, distance, orientation in near[number]:
            staying = []
            for i in undecided[neighbour]:
                if _both_stay(found.records[kept], found.records[i]):
                    found.keep_both(kept, i)
                    staying.append(i)
                else:
                    found.drop(kept, i, distance=distance, orientation=orientation)
            undecided[neighbour] = staying


def _both_stay(first: Record, second: Record) -> bool:
    if (first.source, first.split) != (second.source, second.split):
        return False
    return first.bag == second.bag or not first.has_objects_of(second)
