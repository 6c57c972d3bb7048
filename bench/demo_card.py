"""The figures in the demo model's card, and the curves of its training.

`python -m bench.demo_card models/demo` reads evaluation.json (of `apsam-train evaluate`) and
training.jsonl (the stages' logs) of that folder, fills the card's tables and draws curves.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from apsam_train.files import whole_file, write_whole

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
_SMOOTH = 12
"""Log lines that a point of the curves is the mean of."""
_NAMES = {"apg": "adaptive points", "random1": "the click alone", "box": "its box"}
Row = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the card and draw the curves; 1 where the card has no place for figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the model")
    folder: Path = parser.parse_args(argv).folder
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        print(f"{card} has no {BEGIN} and {END}; add both lines", file=sys.stderr)
        return 1
    rows = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["rows"]
    write_whole(card, filled(text, rows))
    draw_curves(folder / "curves.png", read_log(folder / "training.jsonl"))
    return 0


def filled(card: str, rows: Sequence[Row]) -> str:
    """The card with the tables of these rows between its two marks."""
    before, _, rest = card.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}"


def tables(rows: Sequence[Row]) -> str:
    """Markdown: the headline, then by overlap, size and category; a column per data set."""
    heads = [row["data"].partition(" ")[0] for row in rows]
    parts = [_headline(rows)]
    for kind, title in (("overlap", "overlap"), ("size", "size"), ("category", "category")):
        parts.append(_by(kind, title, rows, heads))
    return "\n\n".join(parts)


def _headline(rows: Sequence[Row]) -> str:
    lines = ["| data | objects | asked by | mIoU % | Dice % | boundary IoU % |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        for name, result in row["protocols"].items():
            figures = " | ".join(f"{100 * result[k]:.1f}" for k in ("miou", "dice", "boundary_iou"))
            data = row["data"].partition(" ")[0]
            lines.append(f"| {data} | {row['num_instances']} | {_NAMES[name]} | {figures} |")
    return "\n".join(lines)


def _by(kind: str, title: str, rows: Sequence[Row], heads: Sequence[str]) -> str:
    """mIoU with adaptive points by a kind of group."""
    groups = [row["protocols"]["apg"]["breakdown"][kind] for row in rows]
    lines = [f"| {title} | " + " | ".join(f"{head}: objects | mIoU %" for head in heads) + " |"]
    lines.append("| --- |" + " --- | --- |" * len(rows))
    for name in groups[0]:
        cells = [one[name] for one in groups if name in one]
        shown = " | ".join(f"{int(one['num_scores'])} | {100 * one['miou']:.1f}" for one in cells)
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def read_log(file: Path) -> list[dict[str, Any]]:
    """Lines of `apsam-train fit`'s log.jsonl, each with its stage, one stage after the other."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def draw_curves(file: Path, log: Sequence[Mapping[str, Any]]) -> None:
    """Loss and IoU of training, and the score on held-out bags, over all stages' steps."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    first = 0
    for stage, lines in _stages(log):
        trained = [line for line in lines if line["kind"] == "train"]
        steps = first + np.array([line["step"] for line in trained])
        for axes, key in ((upper, "loss"), (lower, "iou")):
            values = np.array([line[key] for line in trained])
            axes.plot(steps, values, ".", markersize=2, color="#b8c4d0")
            mean = np.convolve(values, np.ones(_SMOOTH) / _SMOOTH, "valid")
            axes.plot(steps[_SMOOTH - 1 :], mean, color="#1f5f9f", linewidth=1.5)
            axes.axvline(first, color="#909090", linewidth=0.8, linestyle=":")
        upper.text(first, 1.01, stage, transform=upper.get_xaxis_transform(), fontsize=8)
        held_out = [line for line in lines if line["kind"] == "validation"]
        for key, marker, colour in (("random1", "s", "#c07800"), ("apg", "^", "#2f7f4f")):
            places = [first + line["step"] for line in held_out]
            scores = [line[f"miou_{key}"] for line in held_out]
            label = f"held out, {_NAMES[key]}" if first == 0 else None
            lower.plot(places, scores, marker, color=colour, markersize=4, label=label)
        first = int(steps[-1])
    upper.set_ylabel("loss")
    upper.set_ylim(0, 5)
    lower.set_ylabel("IoU")
    lower.set_ylim(0, 1)
    lower.set_xlabel("steps")
    lower.legend(frameon=False, fontsize=8, loc="upper left")
    with whole_file(file) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _stages(
    log: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for stage in dict.fromkeys(line["stage"] for line in log):
        yield stage, [line for line in log if line["stage"] == stage]


if __name__ == "__main__":
    sys.exit(main())
