"""A confusion matrix as a picture that can be read at 30 categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from apsam_train.categories import CATEGORIES, SUPERCLASS, SUPERCLASSES

_CELL_INCHES, _MARGIN_INCHES = 0.38, 4.0
_BLOCK, _LINE, _EMPTY = "#d55e00", "#b0b0b0", "#f2f2f2"
_DARK = 0.55
"""Share from which a cell is so dark that its number is written in white."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A superclass: its rows from `first` on."""

    name: str
    first: int
    num_rows: int


def superclass_blocks() -> list[Block]:
    """The superclasses as blocks of `CATEGORIES`."""
    names = [SUPERCLASS[name] for name in CATEGORIES]
    return [
        Block(name=name, first=names.index(name), num_rows=names.count(name))
        for name in SUPERCLASSES
    ]


def draw_confusion(
    file: Path,
    counts: NDArray[np.int64],
    *,
    rows: Sequence[str],
    title: str,
    blocks: Sequence[Block] = (),
) -> None:
    """Write a PNG of counts [R, 1 + R]: the truth down, the answer across, "none" first. A cell's
    number is its share of the row in per cent."""
    height = len(rows) * _CELL_INCHES + _MARGIN_INCHES
    # A figure of its own: pyplot keeps global state and may want a display.
    figure = Figure(figsize=(height + 1, height), layout="constrained")
    axes = figure.subplots()
    totals = counts.sum(axis=1)
    shares = np.ma.masked_array(
        counts / np.maximum(totals, 1)[:, None], np.repeat(totals[:, None] == 0, len(rows) + 1, 1)
    )
    axes.set_facecolor(_EMPTY)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _numbers(axes, counts, totals)
    names = [f"{name}  ({total:,})" for name, total in zip(rows, totals, strict=True)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xticks(range(len(rows) + 1), ["none", *rows], rotation=90)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth (times asked)")
    axes.axvline(0.5, color="black", linewidth=1.2)
    axes.tick_params(length=0)
    _mark(axes, blocks)
    axes.set_title(title, pad=16)
    figure.savefig(file, format="png", dpi=100)


def _numbers(axes: Axes, counts: NDArray[np.int64], totals: NDArray[np.int64]) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = counts[row, column] / totals[row]
        text = f"{share * 100:.0f}" if share >= 0.005 else "<1"
        colour = "white" if share > _DARK else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)


def _mark(axes: Axes, blocks: Sequence[Block]) -> None:
    """Frame a superclass's own cells, and name it where it ends on the right."""
    for block in blocks:
        corner = (block.first + 0.5, block.first - 0.5)
        axes.add_patch(
            Rectangle(
                corner,
                block.num_rows,
                block.num_rows,
                fill=False,
                edgecolor=_BLOCK,
                linewidth=2,
            )
        )
        if block.first:
            axes.axhline(block.first - 0.5, color=_LINE, linewidth=0.6)
            axes.axvline(block.first + 0.5, color=_LINE, linewidth=0.6)
        middle = block.first + (block.num_rows - 1) / 2
        right = axes.get_xlim()[1] + 0.2
        axes.text(right, middle, block.name, va="center", color=_BLOCK, fontsize=9)
