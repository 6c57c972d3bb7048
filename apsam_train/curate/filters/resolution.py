"""Images too small to see anything in (paper 3.1: width or height below 200 pixels)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apsam_train.curate.record import Record
from apsam_train.errors import ConfigError

POSITION = 10


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-side", type=int, default=200, metavar="PX", help="least width and height"
    )


def from_args(args: argparse.Namespace) -> Resolution:
    return Resolution(min_side=args.min_side)


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Drops images whose width or height is below `min_side` pixels."""

    min_side: int = 200

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise ConfigError(f"--min-side is {self.min_side}: expected at least 1; 200 is usual")

    def options(self) -> dict[str, Any]:
        return {"--min-side": self.min_side}

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        def judged(record: Record) -> Record:
            small = min(record.width, record.height) < self.min_side
            return replace(record, dropped="low resolution") if small else record

        return [judged(record) for record in records], {}
