"""Noisy images (paper 3.1): of those whose Laplacian varies by more than an empirical T, nine in
ten are dropped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from apsam_train.curate.chance import chance
from apsam_train.curate.record import Record
from apsam_train.errors import ConfigError

POSITION = 30
_QUANTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--noise-threshold", type=float, metavar="T", help="variance of the Laplacian that is noise"
    )
    parser.add_argument(
        "--noise-percentile",
        type=float,
        default=99.0,
        metavar="P",
        help="without a threshold: T is this percentile of the images measured (default 99)",
    )
    parser.add_argument(
        "--noise-drop", type=float, default=0.9, metavar="P", help="chance that noise is dropped"
    )


def from_args(args: argparse.Namespace) -> Noise:
    return Noise(
        threshold=args.noise_threshold,
        percentile=args.noise_percentile,
        drop=args.noise_drop,
        seed=args.seed,
    )


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Drops an image above `threshold` (None: the `percentile` of all) with probability `drop`,
    which hangs on the image's name and the seed alone."""

    threshold: float | None = None
    percentile: float = 99.0
    drop: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.threshold is not None and not self.threshold >= 0:
            raise ConfigError(f"--noise-threshold is {self.threshold}: expected 0 or more")
        if not 0 <= self.percentile <= 100:
            raise ConfigError(f"--noise-percentile is {self.percentile}: expected 0 to 100")
        if not 0 <= self.drop <= 1:
            raise ConfigError(f"--noise-drop is {self.drop}: expected a probability from 0 to 1")

    def options(self) -> dict[str, Any]:
        return {
            "--noise-threshold": self.threshold,
            "--noise-percentile": self.percentile,
            "--noise-drop": self.drop,
            "--seed": self.seed,
        }

    def apply(self, records: Sequence[Record]) -> tuple[list[Record], dict[str, Any]]:
        values = np.array([record.laplacian for record in records])
        threshold, rule = self.threshold, "given by --noise-threshold"
        if threshold is None:
            threshold = float(np.percentile(values, self.percentile)) if len(values) else 0.0
            rule = f"percentile {self.percentile:g} of the {len(values)} images measured"
        noisy = [record for record in records if record.laplacian > threshold]

        def judged(record: Record) -> Record:
            unlucky = chance(self.seed, "noise", record.id) < self.drop
            drop = record.laplacian > threshold and unlucky
            return replace(record, dropped="noise") if drop else record

        notes = {"threshold": threshold, "rule": rule, "above": len(noisy)}
        return [judged(record) for record in records], notes | _distribution(records)


def _distribution(records: Sequence[Record]) -> dict[str, Any]:
    """Percentiles of every source: scanners differ, and one T serves them all."""
    by_source: dict[str, list[float]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record.laplacian)
    return {
        "percentiles": {
            source: {f"{q:g}": round(float(np.percentile(values, q)), 2) for q in _QUANTILES}
            for source, values in by_source.items()
        }
    }
