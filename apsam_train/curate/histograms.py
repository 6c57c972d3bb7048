"""One picture of six distributions: what was measured, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from apsam_train.curate.record import Record
from apsam_train.files import whole_file

_NUM_BINS = 40
_GREY, _BLUE, _RED = "0.80", "#1f5f9f", "#b03030"
_LEAST_SHARE = 1e-5
_ASPECTS = (0.2, 0.5, 1.0, 2.0, 5.0)


def draw_histograms(
    file: Path, measured: Sequence[Record], kept: Sequence[Record], *, noise_threshold: float
) -> None:
    """Write a PNG: width, height, aspect, Laplacian with T, objects per image, mask share."""
    # a figure of its own: pyplot keeps global state and may want a display
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    both = (measured, kept)
    _draw(panels[0], *(np.array([r.width for r in part], float) for part in both))
    panels[0].set_xlabel("width, pixels")
    _draw(panels[1], *(np.array([r.height for r in part], float) for part in both))
    panels[1].set_xlabel("height, pixels")
    _draw(panels[2], *(np.array([r.aspect for r in part], float) for part in both), log=True)
    panels[2].set_xlabel("width / height")
    panels[2].set_xticks(_ASPECTS, [f"{aspect:g}" for aspect in _ASPECTS])
    panels[2].minorticks_off()
    _draw(panels[3], *(np.array([r.laplacian for r in part], float) for part in both), log=True)
    panels[3].axvline(noise_threshold, color=_RED, linestyle="--", label="T")
    panels[3].set_xlabel(f"variance of the Laplacian (T = {noise_threshold:.1f})")
    _draw_counts(panels[4], *(np.array([len(r.categories) for r in part]) for part in both))
    panels[4].set_xlabel("objects per image")
    shares = (np.array([s for r in part for s in r.mask_shares], float) for part in both)
    _draw(panels[5], *shares, log=True, least=_LEAST_SHARE)
    panels[5].set_xlabel("share of the image that a mask covers")
    for panel, what in zip(panels, ("images",) * 5 + ("masks",), strict=True):
        panel.set_ylabel(what)
        panel.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[3].get_legend_handles_labels(), frameon=False, loc="upper right", ncols=3)
    figure.suptitle(f"{len(measured):,} images measured, {len(kept):,} kept")
    with whole_file(file) as partial:
        figure.savefig(partial, format="png", dpi=100)


def _draw(
    panel: Axes,
    measured: NDArray[np.float64],
    kept: NDArray[np.float64],
    *,
    log: bool = False,
    least: float = 1e-3,
) -> None:
    if log:
        measured, kept = np.maximum(measured, least), np.maximum(kept, least)
        panel.set_xscale("log")
    if not len(measured):
        panel.text(0.5, 0.5, "none", ha="center", transform=panel.transAxes)
        return
    low, high = float(measured.min()), float(measured.max())
    if low == high:
        low, high = low * 0.9, high * 1.1
    edges = np.geomspace(low, high, _NUM_BINS + 1) if log else np.linspace(low, high, _NUM_BINS + 1)
    # rounding must not push the extremes out of the outer bins
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    bins = edges.tolist()
    panel.hist(measured, bins=bins, color=_GREY, label="measured")
    panel.hist(kept, bins=bins, histtype="step", color=_BLUE, linewidth=1.4, label="kept")


def _draw_counts(panel: Axes, measured: NDArray[np.int_], kept: NDArray[np.int_]) -> None:
    edges = (np.arange(int(measured.max(initial=0)) + 2) - 0.5).tolist()
    panel.hist(measured, bins=edges, color=_GREY)
    panel.hist(kept, bins=edges, histtype="step", color=_BLUE, linewidth=1.4)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
