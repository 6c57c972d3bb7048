"""The ablation as Markdown: the paper's figures beside ours, and what holds of its ordering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apsam_train.ablate.arms import ARMS, PROTOCOLS, Arm
from apsam_train.charts import Groups, draw_dots
from apsam_train.evaluate.paper import MARGIN, TABLE_4, TABLE_5
from apsam_train.tables import Table

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""arm name -> one `evaluate` result per training seed."""


def report(results: Results, *, facts: Mapping[str, str]) -> str:
    """The whole page. facts: what a reader needs to repeat it, in order."""
    parts = [
        "# Ablation of the Energy-Aware Encoder and the Adaptive Point Generator",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "## Table 4: every arm by its own protocol",
        _table_4(results),
        verdict(results),
        "![Every arm, by seed and by group](ablation.png)",
        "## Table 5: prompts, without the Energy-Aware Encoder",
        _table_5(results),
        "## Every arm by every protocol",
        _matrix(results),
        "## Where the difference lies",
        _by_group(results),
        "## Why",
        _adaptive_points(results),
        _energy_query(results),
        "## Pictures",
        "![Masks of every arm](figure_6.jpg)\n\n![Energy maps](figure_7.jpg)",
    ]
    return "\n\n".join(parts) + "\n"


def verdict(results: Results) -> str:
    """Whether APSAM is ahead of fine-tuned SAM by the paper's margin, in one paragraph."""
    best, base = (_figures(results, name, "miou") for name in ("with_both", "without_both"))
    gain = float(np.mean(best) - np.mean(base))
    held = "reaches" if gain >= MARGIN else "does not reach"
    pairs = zip(best, base, strict=True)
    each = ", ".join(f"{ours - theirs:+.2f}" for ours, theirs in pairs)
    return (
        f"APSAM against fine-tuned SAM: {gain:+.2f} mIoU on average ({each} by seed), which {held} "
        f"the paper's margin of {MARGIN:+.2f}."
    )


def as_table(results: Results) -> Table:
    """Every arm by its own protocol, for the terminal."""
    rows = []
    for arm in ARMS:
        cells = [_cell(results, arm.name, arm.protocol, key) for key in ("miou", "dice")]
        rows.append((arm.title, *(f"{one:.2f}" for cell in cells for one in cell)))
    return Table(columns=("method", "mIoU %", "spread", "Dice %", "spread"), rows=rows)


def draw(file: Path, results: Results) -> None:
    """Write a PNG: mIoU of every arm by its own protocol, by seed, size and overlap."""
    by_seed = {arm.title: _figures(results, arm.name, "miou") for arm in ARMS}
    num_seeds = len(results[ARMS[0].name])
    panels: dict[str, Groups] = {
        "all objects": {
            f"run {number + 1}": {title: values[number] for title, values in by_seed.items()}
            for number in range(num_seeds)
        }
    }
    first = _breakdown(results[ARMS[0].name][0], ARMS[0])
    for kind in ("size", "overlap"):
        panels[f"by {kind}, mean of runs"] = {
            group: {arm.title: _group(results, arm, kind, group) for arm in ARMS}
            for group in first[kind]
        }
    panels = {title: groups for title, groups in panels.items() if groups}
    draw_dots(file, panels, unit="mIoU %", title="Every arm by its own protocol")


def _table_4(results: Results) -> str:
    lines = ["| method | mIoU % | spread | Dice % | spread | paper mIoU % | paper Dice % |"]
    lines.append("|---|---|---|---|---|---|---|")
    for arm in ARMS:
        cells = [_cell(results, arm.name, arm.protocol, key) for key in ("miou", "dice")]
        lines.append(_row(arm.title, *cells, *TABLE_4[arm.title]))
    return "\n".join(lines)


def _table_5(results: Results) -> str:
    lines = [
        "| prompt | trained | mIoU % | spread | Dice % | spread | paper mIoU % | paper Dice % |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for protocol, paper in TABLE_5.items():
        arm = "without_eae" if protocol == "apg" else "without_both"
        cells = [_cell(results, arm, protocol, key) for key in ("miou", "dice")]
        lines.append(_row(f"{protocol} | {_title(arm)}", *cells, *paper))
    return "\n".join(lines)


def _matrix(results: Results) -> str:
    lines = ["mIoU %, mean over training seeds (spread).", ""]
    lines.append("| method | " + " | ".join(PROTOCOLS) + " |")
    lines.append("|---|" + "---|" * len(PROTOCOLS))
    for arm in ARMS:
        cells = [_cell(results, arm.name, protocol, "miou") for protocol in PROTOCOLS]
        values = " | ".join(f"{mean:.2f} ({spread:.2f})" for mean, spread in cells)
        lines.append(f"| {arm.title} | {values} |")
    return "\n".join(lines)


def _by_group(results: Results) -> str:
    lines = ["mIoU % by size and by overlap, each arm by its own protocol, mean over seeds.", ""]
    lines.append("| objects | " + " | ".join(arm.title for arm in ARMS) + " |")
    lines.append("|---|" + "---|" * len(ARMS))
    first = _breakdown(results[ARMS[0].name][0], ARMS[0])
    for kind in ("size", "overlap"):
        for group in first[kind]:
            values = " | ".join(f"{_group(results, arm, kind, group):.2f}" for arm in ARMS)
            lines.append(f"| {kind} {group} | {values} |")
    return "\n".join(lines)


def _adaptive_points(results: Results) -> str:
    lines = [
        "Adaptive points work on the first mask, and the farthest pair lies on its outline. The",
        "same clicks, grouped by the IoU of their own mask and by whether both points lie on the",
        "object; mean IoU % of the click's own mask and of the one after adaptive points, all",
        "seeds together:",
        "",
        "| method | first mask's IoU | points on the object | objects | click | adaptive | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in (arm for arm in ARMS if arm.apg):
        groups = [g for one in results[arm.name] for g in one["diagnosis"]["by_first_mask"]]
        for key in sorted({(g["from"], g["to"], not g["both_on"]) for g in groups}):
            same = [g for g in groups if (g["from"], g["to"], not g["both_on"]) == key]
            lines.append(_group_row(arm, same))
    return "\n".join(lines)


def _group_row(arm: Arm, groups: Sequence[Mapping[str, Any]]) -> str:
    """One line of equal groups of several seeds, weighted by their objects."""
    counts = [group["num_objects"] for group in groups]
    click, apg = (
        100 * float(np.average([group[key] for group in groups], weights=counts))
        for key in ("click", "apg")
    )
    span = f"{groups[0]['from']:.2f} to {groups[0]['to']:.2f}"
    where = "both" if groups[0]["both_on"] else "not both"
    figures = f"{sum(counts)} | {click:.2f} | {apg:.2f} | {apg - click:+.2f}"
    return f"| {arm.title} | {span} | {where} | {figures} |"


def _energy_query(results: Results) -> str:
    lines = [
        "The energy query of a trained model set to zero afterwards, and where its attention lies",
        "(a share of the area equal to that of the attention would be chance):",
        "",
        "| method | mIoU % | without query | attention % | area % | peaks on objects % |",
        "|---|---|---|---|---|---|",
    ]
    for arm in (arm for arm in ARMS if arm.energy):
        found = [one["diagnosis"] for one in results[arm.name]]
        values = [
            float(np.mean(_figures(results, arm.name, "miou"))),
            100 * float(np.mean([one["miou_without_query"] for one in found])),
            *(
                100 * float(np.mean([one["attention"][key] for one in found]))
                for key in ("attention", "area", "peaks")
            ),
        ]
        lines.append(_row(arm.title, *values))
    return "\n".join(lines)


def _figures(results: Results, name: str, key: str) -> list[float]:
    """An arm's figure of every seed by its own protocol, in per cent."""
    (arm,) = (arm for arm in ARMS if arm.name == name)
    return [one["protocols"][arm.protocol][key] * 100 for one in results[name]]


def _cell(results: Results, name: str, protocol: str, key: str) -> tuple[float, float]:
    """(mean, largest minus smallest) over training seeds, in per cent."""
    values = [one["protocols"][protocol][key] * 100 for one in results[name]]
    return float(np.mean(values)), float(np.ptp(values))


def _row(title: str, *values: tuple[float, float] | float) -> str:
    cells = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return f"| {title} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"


def _title(name: str) -> str:
    return next(arm.title for arm in ARMS if arm.name == name)


def _breakdown(result: Mapping[str, Any], arm: Arm) -> Mapping[str, Any]:
    parts: Mapping[str, Any] = result["protocols"][arm.protocol]["breakdown"]
    return parts


def _group(results: Results, arm: Arm, kind: str, group: str) -> float:
    parts = [_breakdown(one, arm)[kind].get(group) for one in results[arm.name]]
    return float(np.mean([part["miou"] * 100 for part in parts if part is not None]))
