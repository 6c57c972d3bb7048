"""All objects as points in a plane: what lies together, and which labels stand out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from apsam_train.categories import SUPERCLASS, SUPERCLASSES
from apsam_train.labels.neighbours import Features

Method = Literal["pca", "tsne"]

MOST_POINTS = 5000
"""More are drawn by lot; every suspect is shown."""
_COLOURS = (
    *("#d55e00", "#0072b2", "#cc79a7", "#e6c800", "#009e73"),
    *("#56b4e9", "#e69f00", "#5b3a8c", "#7f7f7f", "#000000"),
)
_OUTSIDE = "#c9b8a0"
_MARKERS = "osD^vP*X<>"


def plane(unit: Features, *, method: Method, seed: int) -> NDArray[np.float32]:
    """Places [N, 2] of `normalised` features; the same seed gives the same picture."""
    if method == "pca":
        places = PCA(2, svd_solver="full").fit_transform(unit)
    else:
        perplexity = min(30.0, max(1.0, (len(unit) - 1) / 3))
        start = PCA(2, svd_solver="full").fit_transform(unit)
        start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
        places = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(unit)
    result: NDArray[np.float32] = np.asarray(places, np.float32)
    return result


def shown(num_objects: int, suspects: Sequence[int], *, seed: int) -> NDArray[np.int64]:
    """Positions of the objects that are drawn: all, or all suspects and others drawn by lot."""
    everyone = np.arange(num_objects)
    if num_objects <= MOST_POINTS:
        return everyone
    rest = np.setdiff1d(everyone, suspects)
    num_rest = min(len(rest), max(0, MOST_POINTS - len(suspects)))
    drawn = np.random.default_rng(seed).choice(rest, num_rest, replace=False)
    return np.sort(np.concatenate([np.array(suspects, np.int64), drawn]))


def draw_plane(
    file: Path,
    places: NDArray[np.float32],
    categories: Sequence[str],
    *,
    suspects: Sequence[int],
    title: str,
) -> None:
    """Write a PNG. A superclass has a colour, its categories differ in the marker; suspects, by
    position in `places`, are ringed."""
    # A figure of its own: pyplot keeps global state and may want a display.
    figure = Figure(figsize=(14, 9), layout="constrained")
    axes = figure.subplots()
    names = np.array(categories)
    for name, colour, marker in _styles(categories):
        inside = names == name
        axes.scatter(
            places[inside, 0],
            places[inside, 1],
            s=22,
            c=colour,
            marker=marker,
            linewidths=0,
            alpha=0.75,
            label=f"{name} ({int(inside.sum())})",
        )
    ringed = places[list(suspects)]
    axes.scatter(
        ringed[:, 0],
        ringed[:, 1],
        s=90,
        facecolors="none",
        edgecolors="#b2182b",
        linewidths=1.4,
        label=f"suspect ({len(suspects)})",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(file, format="png", dpi=100)


def _styles(categories: Sequence[str]) -> list[tuple[str, str, str]]:
    """(name, colour, marker), superclass by superclass, names outside Table 7 last."""
    present = sorted(set(categories))
    styles = []
    for superclass, colour in zip(SUPERCLASSES, _COLOURS, strict=True):
        members = [n for n in present if n == superclass or SUPERCLASS.get(n) == superclass]
        styles += [(n, colour, _MARKERS[i % len(_MARKERS)]) for i, n in enumerate(members)]
    known = {name for name, _, _ in styles}
    outside = [name for name in present if name not in known]
    styles += [(n, _OUTSIDE, _MARKERS[i % len(_MARKERS)]) for i, n in enumerate(outside)]
    return styles
