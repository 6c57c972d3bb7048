"""Figures of groups side by side, as reports show them: a line per group, a dot per series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apsam_train.files import whole_file

# Form and colour: either alone tells them apart.
_LOOKS = (
    *(("#1f5f9f", "o"), ("#c07800", "s"), ("#2f7f4f", "^"), ("#b03030", "D")),
    *(("#7a5fa8", "v"), ("#505050", "P")),
)
_LINE_INCHES, _PANEL_INCHES = 0.24, 0.4
Groups = Mapping[str, Mapping[str, float]]
"""Group -> series -> value; a series may lack in a group."""


def draw_dots(file: Path, panels: Mapping[str, Groups], *, unit: str, title: str = "") -> None:
    """Write a PNG of a panel per title, one below the other, on one axis from 0."""
    series = list(
        dict.fromkeys(s for groups in panels.values() for g in groups.values() for s in g)
    )
    heights = [_PANEL_INCHES + _LINE_INCHES * len(groups) for groups in panels.values()]
    # a figure of its own: pyplot keeps global state and may want a display
    figure = Figure(figsize=(8, 1.2 + sum(heights)), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(len(panels), height_ratios=heights, sharex=True))
    for axes, (name, groups) in zip(all_axes, panels.items(), strict=True):
        _draw(axes, groups, series)
        axes.set_title(name, loc="left", fontsize=9)
    largest = max(
        value for groups in panels.values() for g in groups.values() for value in g.values()
    )
    all_axes[-1].set_xlim(0, 1.05 * largest or 1)
    all_axes[-1].set_xlabel(unit)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    with whole_file(file) as partial:
        figure.savefig(partial, format="png", dpi=100)


def _draw(axes: Axes, groups: Groups, series: Sequence[str]) -> None:
    for place, name in enumerate(series):
        colour, marker = _LOOKS[place % len(_LOOKS)]
        values = [groups[group].get(name, float("nan")) for group in groups]
        axes.plot(
            values,
            range(len(groups)),
            linestyle="none",
            marker=marker,
            markersize=5,
            color=colour,
            alpha=0.85,
            label=name,
        )
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
