"""Train, val, test: a public data set keeps its own splits, all other images 8:1:1 by bag.

Nothing straddles. A bag's images go to one split. Of images that are copies one is left (see
`duplicates`), and the bags of those that are gone are tied to the bag of the one that stayed: their
other views are likely to be copies that were not found. Bags of images that look alike and stay are
tied as well. Tied bags go to one split; when one of them belongs to a public data set, to that
one's. A bag that a public data set itself divides stays divided, and is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apsam_train.curate.chance import chance
from apsam_train.curate.record import Record
from apsam_train.errors import ConfigError

POSITION = 50
SUBSETS = ("train", "val", "test")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shares", default="8:1:1", metavar="TRAIN:VAL:TEST", help="of images without a split"
    )
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.0,
        metavar="S",
        help="share of train that becomes val where a source has no val of its own (default 0)",
    )


def from_args(args: argparse.Namespace) -> Split:
    try:
        train, val, test = (float(part) for part in args.shares.split(":"))
    except ValueError as error:
        raise ConfigError(f"--shares is {args.shares!r}: expected three like 8:1:1") from error
    return Split(
        shares=(train, val, test),
        val_share=args.val_share,
        resplit=tuple(sorted(args.resplit)),
        seed=args.seed,
    )


def subset_of(split: str) -> str:
    """The one of `SUBSETS` that a data set's own split is, "" when it is none: test/hard -> test,
    val2017 and validation -> val."""
    head = split.lower()
    return next((subset for subset in SUBSETS if head.startswith(subset)), "")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sets `subset`. shares: of train, val and test; resplit: sources whose own splits are ignored;
    a bag's place hangs on its name and the seed alone, so that new images move no old ones."""

    shares: tuple[float, float, float] = (8.0, 1.0, 1.0)
    val_share: float = 0.0
    resplit: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.shares) < 0 or not 0 < sum(self.shares) < float("inf"):
            raise ConfigError(f"--shares is {self.shares}: expected none below 0, like 8:1:1")
        if not 0 <= self.val_share < 1:
            raise ConfigError(f"--val-share is {self.val_share}: expected 0 or more, below 1")

    def options(self) -> dict[str, Any]:
        return {
            "--shares": list(self.shares),
            "--val-share": self.val_share,
            "--resplit": list(self.resplit),
            "--seed": self.seed,
        }

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        groups = _tied_bags(records)
        own = {record.id: self._own(record.source, record.split) for record in records}
        claims: dict[str, set[str]] = {}
        for record in records:
            claim = claims.setdefault(groups[record.bag_id], set())
            claim.add(own[record.id])
            claim.update(self._own(link.bag.split("/")[0], link.split) for link in record.linked)
        with_val = {record.source for record in records if own[record.id] == "val"}

        def placed(record: Record) -> Record:
            group = groups[record.bag_id]
            subset = own[record.id] or _most_guarded(claims[group]) or self._drawn(group)
            lacks_val = bool(own[record.id]) and record.source not in with_val
            if subset == "train" and lacks_val:
                to_val = chance(self.seed, "val", group) < self.val_share
                subset = "val" if to_val else subset
            return replace(record, subset=subset)

        placed_records = [placed(record) for record in records]
        return placed_records, {"bags_in_two_splits": _num_straddling(placed_records)}

    def _own(self, source: str, split: str) -> str:
        return "" if source in self.resplit else subset_of(split)

    def _drawn(self, group: str) -> str:
        train, val, _ = self.shares
        draw = chance(self.seed, "split", group) * sum(self.shares)
        return "train" if draw < train else "val" if draw < train + val else "test"


def _tied_bags(records: Sequence[Record]) -> dict[str, str]:
    """Bag -> the first by name of all bags that it is tied to."""
    parent: dict[str, str] = {}

    def root(bag: str) -> str:
        parent.setdefault(bag, bag)
        while parent[bag] != bag:
            parent[bag] = parent[parent[bag]]
            bag = parent[bag]
        return bag

    for record in records:
        for bag in (record.bag_id, *(link.bag for link in record.linked)):
            first, second = sorted((root(record.bag_id), root(bag)))
            parent[second] = first
    return {bag: root(bag) for bag in parent}


def _most_guarded(claims: set[str]) -> str:
    """What is in a public test set must not be trained on."""
    return next((subset for subset in ("test", "val", "train") if subset in claims), "")


def _num_straddling(records: Sequence[Record]) -> int:
    subsets: dict[str, set[str]] = {}
    for record in records:
        subsets.setdefault(record.bag_id, set()).add(record.subset)
    return sum(len(found) > 1 for found in subsets.values())
