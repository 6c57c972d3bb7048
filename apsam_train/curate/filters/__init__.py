"""The stages between measuring and merging: one file each, found by name. A file of this folder has

POSITION: int                                   stages run in this order
def add_options(parser) -> None                 its command line options, with defaults
def from_args(args) -> Stage                    raises ConfigError for values that cannot work
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol, cast

from apsam_train.curate.record import Record


class Stage(Protocol):
    """Index in, index out."""

    def options(self) -> dict[str, Any]:
        """What the result depends on, by command line option."""
        ...

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        """All records in the same order, those that go no further with `dropped` set; and what the
        report should tell of the stage, as plain values."""
        ...


class StageFile(Protocol):
    """What a file of this folder offers."""

    POSITION: int

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the stage's options."""
        ...

    def from_args(self, args: argparse.Namespace) -> Stage:
        """The stage as the options ask for it. Raises ConfigError."""
        ...


def stage_files() -> dict[str, StageFile]:
    """Every stage by name, in order."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    found = {n: cast(StageFile, importlib.import_module(f"{__name__}.{n}")) for n in names}
    return dict(sorted(found.items(), key=lambda item: item[1].POSITION))
