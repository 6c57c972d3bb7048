"""The options by which every command takes a data set, and how it is opened from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from apsam_train.data import formats
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    """--data, --format, --split, --strict."""
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--split", default="", help="only this split of it, e.g. test/hard")
    add_reading_options(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """--format, --strict."""
    parser.add_argument(
        "--format", default="", help=f"its layout (default: recognised): {formats.names()}"
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first problem instead of counting it"
    )


def open_from(args: argparse.Namespace, log: ProblemLog) -> ImageDataset:
    """Open the data set that the options name. Raises DatasetError."""
    return formats.open_dataset(args.data, format=args.format, split=args.split, log=log)


def tell(log: ProblemLog, command: str) -> None:
    """Print what is wrong with the data, if anything."""
    if log.num_problems:
        print(f"apsam-train {command}: problems in the data:\n{log.summary()}", file=sys.stderr)


def parse_seeds(text: str) -> list[int]:
    """From "0,1,2". Raises ConfigError."""
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} must be integers like 0,1,2") from error
