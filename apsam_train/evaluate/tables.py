"""Results as text, in per cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FIGURES = ("miou", "miou_spread", "dice", "dice_spread", "boundary_iou")


def by_protocol(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per target, data set and protocol, as the paper's Tables 3, 5 and 6."""
    width = max(len(str(row["target"])) for row in rows)
    head = ("mIoU %", "spread", "Dice %", "spread", "bIoU %")
    lines = []
    for data in dict.fromkeys(row["data"] for row in rows):
        lines.append(f"{data}")
        lines.append(f"{'':<{width}}  {'protocol':<10}" + "".join(f"{h:>8}" for h in head))
        for row in (row for row in rows if row["data"] == data):
            for name, result in row["protocols"].items():
                figures = "".join(f"{result[key] * 100:8.2f}" for key in _FIGURES)
                lines.append(f"{row['target']:<{width}}  {name:<10}{figures}")
    return "\n".join([*lines, f"{rows[0]['num_instances']} instances in {rows[0]['data']}"])


def by_group(row: Mapping[str, Any]) -> str:
    """mIoU of every protocol by size, overlap and category of the objects."""
    names = list(row["protocols"])
    parts = {name: row["protocols"][name]["breakdown"] for name in names}
    num_seeds = len(row["protocols"][names[0]]["by_seed"])
    lines = [f"{'mIoU %':<34}{'objects':>8}" + "".join(f"{name:>10}" for name in names)]
    for kind, groups in parts[names[0]].items():
        for group, figures in groups.items():
            values = "".join(f"{parts[n][kind][group]['miou'] * 100:10.2f}" for n in names)
            num_objects = int(figures["num_scores"]) // num_seeds
            lines.append(f"{kind + ' ' + group:<34}{num_objects:>8}{values}")
    return "\n".join(lines)
