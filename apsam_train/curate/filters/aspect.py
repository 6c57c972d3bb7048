"""Images too narrow or too flat (paper 3.1: width by height outside [0.2, 5])."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apsam_train.curate.record import Record
from apsam_train.errors import ConfigError

POSITION = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-aspect", type=float, default=0.2, metavar="R", help="least width / height"
    )
    parser.add_argument(
        "--max-aspect", type=float, default=5.0, metavar="R", help="most width / height"
    )


def from_args(args: argparse.Namespace) -> Aspect:
    return Aspect(least=args.min_aspect, most=args.max_aspect)


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """Drops images whose width / height lies outside [least, most]."""

    least: float = 0.2
    most: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise ConfigError(
                f"--min-aspect is {self.least}, --max-aspect {self.most}: expected 0 < least <= "
                "most; 0.2 and 5 are usual"
            )

    def options(self) -> dict[str, Any]:
        return {"--min-aspect": self.least, "--max-aspect": self.most}

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        def judged(record: Record) -> Record:
            fits = self.least <= record.aspect <= self.most
            return record if fits else replace(record, dropped="extreme aspect ratio")

        return [judged(record) for record in records], {}
