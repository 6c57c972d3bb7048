"""Options that benchmarks share, checked as they are read, and how a benchmark ends that cannot."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from apsam_serve.contract.manifest import open_bundle
from apsam_serve.errors import ApsamError

P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is served. bundle: its folder; weights: where they come from."""

    bundle: Path
    preset: str
    weights: str


def positive(text: str) -> int:
    """A whole number above 0. Raises ArgumentTypeError, as all of these."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text}: expected a whole number above 0")
    return int(text)


def positives(text: str) -> list[int]:
    """Some of them, such as 1,2,4; each once."""
    return list(dict.fromkeys(positive(word) for word in text.split(",")))


def above_zero(text: str) -> float:
    """A number above 0, such as 0.5."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def model_at(given: Path) -> Model:
    """A folder of apsam-export, or else a preset, whose bundle is made where there is none yet.

    Raises ApsamError, or CalledProcessError where the export fails.
    """
    if given.exists():
        bundle, weights = given, "those of the bundle that was given"
    else:
        from bench.models import bundle_of  # torch, which a process that measures need not load

        files = bundle_of(str(given))
        bundle, weights = files.bundle, files.note
    preset = open_bundle(bundle).manifest.model.preset
    return Model(bundle=bundle, preset=preset, weights=weights)


def guarded(main: Callable[P, int]) -> Callable[P, int]:
    """For the `main` of a benchmark: what it cannot do is one line on standard error, and 1."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except (ApsamError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"{Path(inspect.getfile(main)).stem}: error: {error}", file=sys.stderr)
            return 1

    return run
