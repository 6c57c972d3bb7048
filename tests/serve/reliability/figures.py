"""How large a run is, and where its figures go."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from tests.serve.reliability.server_process import ROOT

FULL = os.environ.get("APSAM_RELIABILITY", "") == "full"
"""`make test-reliability`; `make test` runs every proof in its short form."""
BUSY = 1.0 if FULL else 5.0
"""How much longer things may take in the short form, which runs beside whatever else the machine
does; the bars themselves are held by the full form, on a machine that is left alone."""
_FILE = ROOT / "out" / "reliability.json"

T = TypeVar("T")
Figure = float | int | str


def scaled(*, short: T, full: T) -> T:
    """What this run takes of the two."""
    return full if FULL else short


def report(name: str, **figures: Figure) -> None:
    """Print what was measured; a full run also keeps it for `docs/reliability.md`."""
    rounded = {key: _rounded(value) for key, value in figures.items()}
    print("reliability:", name, *(f"{key}={value}" for key, value in rounded.items()))
    if FULL:
        _merge(_FILE, name, rounded)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _rounded(value: Figure) -> Figure:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _merge(path: Path, name: str, figures: dict[str, Figure]) -> None:
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known[name] = figures
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
