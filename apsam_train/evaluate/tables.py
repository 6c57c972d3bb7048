"""Results for people, in per cent: as tables and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apsam_train.charts import Groups, draw_dots
from apsam_train.tables import Table

_FIGURES = ("miou", "miou_spread", "dice", "dice_spread", "boundary_iou")
_HEADS = ("mIoU %", "spread", "Dice %", "spread", "bIoU %")


def by_protocol(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A table per data set, a line per target and protocol, as the paper's Tables 3, 5 and 6."""
    tables = []
    for data in dict.fromkeys(row["data"] for row in rows):
        same = [row for row in rows if row["data"] == data]
        lines = [
            (row["target"], name, *(f"{result[key] * 100:.2f}" for key in _FIGURES))
            for row in same
            for name, result in row["protocols"].items()
        ]
        title = f"{data}: {same[0]['num_instances']} instances"
        tables.append(Table(title=title, columns=("target", "protocol", *_HEADS), rows=lines))
    return tables


def by_group(row: Mapping[str, Any]) -> Table:
    """mIoU of every protocol by size, overlap and category of the objects."""
    names = list(row["protocols"])
    parts = {name: row["protocols"][name]["breakdown"] for name in names}
    num_seeds = len(row["protocols"][names[0]]["by_seed"])
    lines = [
        (
            f"{kind} {group}",
            int(figures["num_scores"]) // num_seeds,
            *(f"{parts[name][kind][group]['miou'] * 100:.2f}" for name in names),
        )
        for kind, groups in parts[names[0]].items()
        for group, figures in groups.items()
    ]
    return Table(columns=("mIoU %", "objects", *names), rows=lines)


def draw(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG: mIoU of every target and protocol, and of a single one by group."""
    several = len({row["data"] for row in rows}) > 1
    panels: dict[str, Groups] = {"all objects": {_name(row, several): _mious(row) for row in rows}}
    if len(rows) == 1:
        parts = {name: one["breakdown"] for name, one in rows[0]["protocols"].items()}
        for kind, groups in next(iter(parts.values())).items():
            panels[f"by {kind}"] = {
                group: {name: part[kind][group]["miou"] * 100 for name, part in parts.items()}
                for group in groups
            }
    panels = {title: groups for title, groups in panels.items() if groups}
    draw_dots(file, panels, unit="mIoU %", title=rows[0]["data"] if not several else "")


def _name(row: Mapping[str, Any], several: bool) -> str:
    target = Path(row["target"]).name
    return f"{target}, {row['data']}" if several else target


def _mious(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: one["miou"] * 100 for name, one in row["protocols"].items()}
