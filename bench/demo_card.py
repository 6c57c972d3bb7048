"""The figures in the demo model's card, and the curves of its training.

`python -m bench.demo_card models/demo` reads evaluation.json (of `apsam-train evaluate`) and
training.jsonl (the stages' logs) of that folder, fills the card's tables and draws curves.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apsam_train.curves import draw_curves
from apsam_train.files import write_whole

FIGURES, HEADLINE = "figures", "demo numbers"
"""Marks, <!-- X --> and <!-- /X -->, around the card's tables, and around the first in README."""
_NAMES = {"apg": "adaptive points", "random1": "the click alone", "box": "its box"}
Row = Mapping[str, Any]
Line = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the card and draw the curves; 1 where a document has no place for figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the model")
    parser.add_argument("--readme", type=Path, help="document that gets the headline alone")
    options = parser.parse_args(argv)
    folder: Path = options.folder
    rows = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["rows"]
    try:
        fill(folder / "README.md", FIGURES, tables(rows))
        if options.readme is not None:
            fill(options.readme, HEADLINE, headline(rows))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    stages = stages_of(folder / "training.jsonl")
    title = f"{len(stages)} stages of training, one after the other"
    draw_curves(folder / "curves.png", joined(stages), title=title)
    return 0


def fill(document: Path, mark: str, table: str) -> None:
    """Write the document with the table between its marks. Raises ValueError where they lack."""
    text = document.read_text(encoding="utf-8")
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{document} has no {begin} and {end}; add both lines")
    before, _, rest = text.partition(begin)
    write_whole(document, f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}")


def tables(rows: Sequence[Row]) -> str:
    """Markdown: the headline, then by overlap, size and category; a column per data set."""
    heads = [row["data"].partition(" ")[0] for row in rows]
    parts = [headline(rows)]
    parts += [_by(kind, rows, heads) for kind in ("overlap", "size", "category")]
    return "\n\n".join(parts)


def headline(rows: Sequence[Row]) -> str:
    """Markdown: every data set, every way to ask."""
    lines = ["| data | objects | asked by | mIoU % | Dice % | boundary IoU % |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        for name, result in row["protocols"].items():
            figures = " | ".join(f"{100 * result[k]:.1f}" for k in ("miou", "dice", "boundary_iou"))
            data = row["data"].partition(" ")[0]
            lines.append(f"| {data} | {row['num_instances']} | {_NAMES[name]} | {figures} |")
    return "\n".join(lines)


def _by(kind: str, rows: Sequence[Row], heads: Sequence[str]) -> str:
    """mIoU with adaptive points by a kind of group."""
    groups = [row["protocols"]["apg"]["breakdown"][kind] for row in rows]
    lines = [f"| {kind} | " + " | ".join(f"{head}: objects | mIoU %" for head in heads) + " |"]
    lines.append("| --- |" + " --- | --- |" * len(rows))
    for name in sorted({name for one in groups for name in one}):
        cells = [one.get(name, {"num_scores": 0, "miou": float("nan")}) for one in groups]
        shown = " | ".join(f"{int(one['num_scores'])} | {100 * one['miou']:.1f}" for one in cells)
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def joined(stages: Sequence[Sequence[Line]]) -> dict[str, list[Line]]:
    """The lines of all stages by kind, their steps counted on."""
    lines: dict[str, list[Line]] = {}
    first = 0
    for stage in stages:
        for line in stage:
            lines.setdefault(line["kind"], []).append({**line, "step": first + line["step"]})
        first += max(line["step"] for line in stage)
    return lines


def stages_of(log: Path) -> list[list[Line]]:
    """The lines of training.jsonl, stage by stage."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = dict.fromkeys(line["stage"] for line in lines)
    return [[line for line in lines if line["stage"] == name] for name in names]


if __name__ == "__main__":
    sys.exit(main())
