"""A run's curves as a picture, from what its logbook holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apsam_train.files import whole_file
from apsam_train.logbook import LOG

CURVES = "curves.png"
_NUM_MEANS = 60
"""Points of the smoothed curve: each the mean of a stretch of logged steps."""
_GREY, _COLOURS = "0.80", ("#1f5f9f", "#b03030", "#3f8f5f", "#e0a030")

Line = Mapping[str, Any]


def read_lines(out: Path) -> dict[str, list[Line]]:
    """OUT/log.jsonl by kind, in order of steps; of a step that was repeated, the later line."""
    found: dict[str, dict[int, Line]] = {}
    file = out / LOG
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        line = json.loads(text)
        found.setdefault(line["kind"], {})[line["step"]] = line
    return {kind: [lines[step] for step in sorted(lines)] for kind, lines in found.items()}


def draw_curves(file: Path, lines: Mapping[str, Sequence[Line]], *, title: str) -> bool:
    """Write a PNG of losses, IoU of training and held-out mIoU over steps; False where nothing was
    logged yet."""
    train, held_out = lines.get("train", ()), lines.get("validation", ())
    if not train and not held_out:
        return False
    # a figure of its own: pyplot keeps global state and may want a display
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    losses, ious, rates = figure.subplots(1, 3)
    for place, name in enumerate(("loss", "category")):
        _draw(losses, train, name, _COLOURS[place])
    _draw(ious, train, "iou", _COLOURS[0], label="training", percent=True)
    names = dict.fromkeys(key for line in held_out for key in line if key.startswith("miou_"))
    for name, colour in zip(names, _COLOURS[1:], strict=False):
        steps = [line["step"] for line in held_out]
        values = [100 * line[name] for line in held_out]
        label = f"held out, {name.removeprefix('miou_')}"
        ious.plot(steps, values, color=colour, marker="o", markersize=3, label=label)
    _draw(rates, train, "lr", _COLOURS[0])
    for axes, what in ((losses, "loss"), (ious, "mIoU %"), (rates, "learning rate")):
        axes.set(xlabel="step", ylabel=what)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    with whole_file(file) as partial:
        figure.savefig(partial, format="png", dpi=100)
    return True


def _draw(
    axes: Axes,
    lines: Sequence[Line],
    name: str,
    colour: str,
    *,
    label: str = "",
    percent: bool = False,
) -> None:
    """Every logged value in grey, means of stretches over them."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    if not points:
        return
    steps, values = np.array(points, float).T * [[1], [100 if percent else 1]]
    if len(points) > 2 * _NUM_MEANS:
        axes.plot(steps, values, color=_GREY, linewidth=0.6)
        parts = np.array_split(np.arange(len(points)), _NUM_MEANS)
        steps = np.array([steps[part].mean() for part in parts])
        values = np.array([values[part].mean() for part in parts])
    marker = "o" if len(points) == 1 else ""
    axes.plot(steps, values, color=colour, marker=marker, linewidth=1.5, label=label or name)
