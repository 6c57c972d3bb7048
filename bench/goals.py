"""The speed to reach, held against what was measured: `python -m bench.goals bench/results/*.json`.

Prints the README's table. Where several files hold a figure, the one measured last counts; goals
for CPUs are held against runs on machines without a GPU, those for GPUs against the others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bench.measure.document import Document, Figure
from bench.measure.options import guarded
from bench.measure.table import number

HEADINGS = ("what", "to reach", "measured", "reached?", "command")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One line of the table. limit: in `unit`, x for ratios, share of one for `%`; sense: on which
    side of it a figure must lie; hardware: only figures of such a machine count."""

    key: str
    what: str
    sense: Literal[">=", "<="]
    limit: float
    unit: str
    command: str
    hardware: Literal["cpu", "gpu"] = "cpu"

    def reached(self, value: float) -> bool:
        """Whether a figure is on the right side."""
        return value >= self.limit if self.sense == ">=" else value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure, and the file and run it comes from."""

    figure: Figure
    card: Mapping[str, Any]
    path: Path


Place = tuple[str, str]
"""Class of machine, and key of the figure."""
_PEERS = "python -m bench.latency --peers --bundle"
_GPU = "make bench-gpu"
GOALS = (
    Goal(
        key="click_vs_predictor_tiny",
        what="one click with APG through gRPC against `SamPredictor` eager, tiny",
        sense=">=", limit=3, unit="x", command=f"{_PEERS} tiny",
    ),
    Goal(
        key="click_vs_predictor_vit_b",
        what="the same, ViT-B",
        sense=">=", limit=3, unit="x", command=f"{_PEERS} vit_b",
    ),
    Goal(
        key="service_cost_ms_tiny",
        what="the service's own cost: click p50 through gRPC minus in process, tiny, loopback",
        sense="<=", limit=2, unit="ms", command="python -m bench.service_cost",
    ),
    Goal(
        key="apg_ms",
        what="adaptive points on a 128 x 128 mask, p50",
        sense="<=", limit=1, unit="ms", command="python -m bench.apg",
    ),
    Goal(
        key="apg_vs_scikit_learn",
        what="the same against scikit-learn KMeans with a brute-force pair, outlines of 1 to 20 %",
        sense=">=", limit=20, unit="x", command="python -m bench.apg",
    ),
    Goal(
        key="apg_vs_scikit_learn_bags",
        what="the same, objects of synthetic bags, most of them small",
        sense=">=", limit=20, unit="x", command="python -m bench.apg",
    ),
    Goal(
        key="encode_vit_b_vs_eager",
        what="encode ViT-B at 512, FP32, against PyTorch eager of the original model",
        sense=">=", limit=1.4, unit="x", command="python -m bench.encoder",
    ),
    Goal(
        key="encode_vit_b_vs_ceiling",
        what="the same, time over the time at the machine's FP32 matrix ceiling",
        sense="<=", limit=1.5, unit="x", command="python -m bench.encoder",
    ),
    Goal(
        key="stations_8_vs_1_tiny",
        what="throughput of 8 stations against 1, tiny, two cores",
        sense=">=", limit=1.7, unit="x", command="python -m bench.stations",
    ),
    Goal(
        key="stations_fairness_tiny",
        what="the slowest of 8 stations, tiny, share of their mean throughput",
        sense=">=", limit=0.9, unit="%", command="python -m bench.stations",
    ),
    Goal(
        key="cold_start_s_tiny",
        what="cold start to SERVING, tiny, cached plans",
        sense="<=", limit=5, unit="s", command="python -m bench.cold_start",
    ),
    Goal(
        key="resident_mb_tiny",
        what="resident memory of the service, tiny, no torch in the process",
        sense="<=", limit=350, unit="MB", command="python -m bench.memory",
    ),
    Goal(
        key="encode_vit_l_vs_eager_fp16_b1",
        what="encode ViT-L at 512 against eager fp16, batch 1",
        sense=">=", limit=2, unit="x", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="encode_vit_l_vs_eager_fp16_b16",
        what="the same, batch 16",
        sense=">=", limit=2, unit="x", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="encode_vit_l_ceiling_share",
        what="the same, share of the measured bf16 ceiling at batch 16 (aim: 65 %)",
        sense=">=", limit=0.45, unit="%", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="click_gpu_ms_vit_l",
        what="one click with APG on the device, ViT-L, CUDA graph, engine time",
        sense="<=", limit=1, unit="ms", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="click_gpu_grpc_ms_vit_l",
        what="the same through gRPC, loopback, p50",
        sense="<=", limit=2.5, unit="ms", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="apg_kernel_us",
        what="the kernel of the adaptive points",
        sense="<=", limit=30, unit="us", command=_GPU, hardware="gpu",
    ),
    Goal(
        key="cold_start_gpu_s_vit_l",
        what="cold start to SERVING, ViT-L, cached plans",
        sense="<=", limit=20, unit="s", command=_GPU, hardware="gpu",
    ),
)  # fmt: skip


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 even where a goal is not reached, for that is what it shows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="JSON of benchmarks; others are left")
    options = parser.parse_args(argv)
    print(markdown(read(options.results)))
    return 0


def read(paths: Iterable[Path]) -> dict[Place, Measured]:
    """The figures measured last. Files that are no document of ours are left out, and named on
    stderr. Raises OSError."""
    found: list[Measured] = []
    for path in paths:
        try:
            document = Document.read(path)
        except ValueError as error:
            print(f"{path}: left out: {error}", file=sys.stderr)
            continue
        found += [Measured(figure=one, card=document.card, path=path) for one in document.figures]
    found.sort(key=lambda one: datetime.fromisoformat(one.card["date"]))
    return {("gpu" if one.card.get("gpus") else "cpu", one.figure.key): one for one in found}


def markdown(measured: Mapping[Place, Measured]) -> str:
    """The table, and under it what was measured where."""
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    rows += [_row(goal, measured.get((goal.hardware, goal.key))) for goal in GOALS]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    places = ((goal.hardware, goal.key) for goal in GOALS)
    used = [measured[place] for place in places if place in measured]
    sources = dict.fromkeys(f"- {_machine(one.card)}: {one.path.name}" for one in used)
    return "\n".join([*lines, *(["", "Measured on:", *sources] if sources else [])])


def _row(goal: Goal, measured: Measured | None) -> tuple[str, ...]:
    limit = f"{goal.sense} {_with_unit(_limit(goal), goal.unit)}"
    command = f"`{goal.command}`"
    if measured is None:
        return goal.what, limit, "not run", "", command
    if measured.figure.refused:
        return goal.what, limit, _one_cell(f"not compared: {measured.figure.refused}"), "", command
    return (
        goal.what,
        limit,
        _measured(goal, measured.figure),
        _verdict(goal, measured.figure),
        command,
    )


def _measured(goal: Goal, figure: Figure) -> str:
    words = _with_unit(_digits(figure.value, goal.unit), goal.unit)
    if figure.low is not None and figure.high is not None:
        words += f" ({_digits(figure.low, goal.unit)} to {_digits(figure.high, goal.unit)})"
    return _one_cell(f"{words}, {figure.detail}") if figure.detail else words


def _one_cell(words: str) -> str:
    return words.replace("|", "\\|")


def _verdict(goal: Goal, figure: Figure) -> str:
    """A figure whose interval holds the goal has decided nothing."""
    ends = [end for end in (figure.low, figure.high) if end is not None] or [figure.value]
    reached = {goal.reached(end) for end in ends}
    if len(reached) > 1:
        return "undecided: the interval holds the goal"
    return "yes" if reached == {True} else "no"


def _limit(goal: Goal) -> str:
    return f"{100 * goal.limit:g}" if goal.unit == "%" else f"{goal.limit:g}"


def _with_unit(digits: str, unit: str) -> str:
    return f"{digits}x" if unit == "x" else f"{digits} {unit}"


def _digits(value: float, unit: str) -> str:
    return f"{100 * value:.0f}" if unit == "%" else number(value)


def _machine(card: Mapping[str, Any]) -> str:
    gpus = ", ".join(gpu["name"] for gpu in card.get("gpus", ()))
    cores = f"{card['cores']} CPU cores ({card['cpu']})"
    return f"{gpus}, {cores}" if gpus else cores


if __name__ == "__main__":
    sys.exit(main())
