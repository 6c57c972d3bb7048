"""Fine against coarse labels as a page and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apsam_train.charts import draw_dots
from apsam_train.labels.arms import ARMS
from apsam_train.tables import Table

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""arm name -> one `arms.head_figures` per training seed, the same seeds in both."""


def as_markdown(results: Results, *, facts: Mapping[str, str]) -> str:
    """The whole page. facts: what a reader needs to repeat it, in order."""
    parts = [
        "# Fine against coarse category labels",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "Two kinds of category heads on one frozen model: one is told every object's category, "
        "the other its superclass only. Both are asked for the superclass.",
        _table(results),
        verdict(results),
        "## By superclass",
        _by_superclass(results),
        "![Superclass accuracy of every head, by superclass](report.png)",
    ]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, *, seeds: Sequence[int], facts: Mapping[str, str]) -> dict[str, Any]:
    """Every run's figures, and mean and spread of both arms."""
    return {
        "facts": dict(facts),
        "seeds": list(seeds),
        "gain_by_seed": gains(results),
        "gain": float(np.mean(gains(results))),
        "arms": {
            arm.name: _summary(results[arm.name]) | {"by_seed": list(results[arm.name])}
            for arm in ARMS
        },
    }


def as_table(results: Results) -> Table:
    """Both arms, for the terminal."""
    rows = [
        (arm.title, *(_percent(of[key]) for key in ("superclass", "superclass_spread")))
        for arm in ARMS
        for of in [_summary(results[arm.name])]
    ]
    return Table(columns=("trained on", "superclass %", "spread"), rows=rows)


def draw(file: Path, results: Results) -> None:
    """Write a PNG: superclass accuracy of both arms, over all objects and by superclass."""
    whole = {
        f"run {number + 1}": {
            arm.title: 100 * results[arm.name][number]["superclass"] for arm in ARMS
        }
        for number in range(len(results["fine"]))
    }
    panels = {"all objects, by run": whole, "by superclass, mean of runs": _of_superclass(results)}
    draw_dots(file, panels, unit="superclass accuracy %", title="Heads by the labels they saw")


def _of_superclass(results: Results) -> dict[str, dict[str, float]]:
    return {
        name: {
            arm.title: 100
            * float(
                np.mean([run["by_superclass"][name]["superclass"] for run in results[arm.name]])
            )
            for arm in ARMS
        }
        for name in results["fine"][0]["by_superclass"]
    }


def gains(results: Results) -> list[float]:
    """What fine labels gain in superclass accuracy, per seed, in points of a share."""
    pairs = zip(results["fine"], results["coarse"], strict=True)
    return [fine["superclass"] - coarse["superclass"] for fine, coarse in pairs]


def verdict(results: Results) -> str:
    """Whether fine labels help, in one paragraph."""
    by_seed = gains(results)
    each = ", ".join(f"{gain * 100:+.2f}" for gain in by_seed)
    if len(by_seed) == 1:
        held = "; one seed says nothing about chance"
    elif min(by_seed) > 0:
        held = ": fine labels help"
    elif max(by_seed) < 0:
        held = ": fine labels harm"
    else:
        held = ": seeds disagree, so no difference is shown"
    accuracy = np.mean([one["superclass"] for one in results["coarse"]])
    num_objects = results["coarse"][0]["num_objects"]
    error = np.sqrt(accuracy * (1 - accuracy) / num_objects)
    return (
        f"Superclass accuracy, fine labels less coarse: {np.mean(by_seed) * 100:+.2f} points on "
        f"average ({each} by seed){held}. One accuracy over {num_objects} objects has a standard "
        f"error of {error * 100:.2f} points."
    )


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name in ("superclass", "category"):
        values = [run[name] for run in runs if run[name] is not None]
        figures[name] = float(np.mean(values)) if values else None
        figures[f"{name}_spread"] = float(np.ptp(values)) if values else None
    return figures


def _table(results: Results) -> str:
    lines = [
        "| trained on | superclass % | spread | category % | spread |",
        "|---|---|---|---|---|",
    ]
    for arm in ARMS:
        figures = _summary(results[arm.name])
        names = ["superclass", "superclass_spread"]
        cells = [_percent(figures[name]) for name in names]
        # A head that was told superclasses only has no say in categories.
        fine = arm.name == "fine"
        cells += [
            _percent(figures[name]) if fine else "-" for name in ("category", "category_spread")
        ]
        lines.append(f"| {arm.title} | {' | '.join(cells)} |")
    runs = results["fine"]
    lines += [
        "",
        f"{len(runs)} seeds; {runs[0]['num_objects']} test objects, {runs[0]['num_fine']} of them "
        "with a category; spread is the largest less the smallest.",
    ]
    return "\n".join(lines)


def _by_superclass(results: Results) -> str:
    lines = ["| superclass | objects | fine % | coarse % | difference |", "|---|---|---|---|---|"]
    means = _of_superclass(results)
    for name, first in results["fine"][0]["by_superclass"].items():
        fine, coarse = means[name].values()
        lines.append(
            f"| {name} | {first['num_objects']} | {fine:.2f} | {coarse:.2f} | "
            f"{fine - coarse:+.2f} |"
        )
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f}"
