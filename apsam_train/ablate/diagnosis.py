"""Why an ordering holds or not: where adaptive points help, and what the energy query does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import letterbox
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.data.training import coverage
from apsam_train.evaluate.score import Asking, InstanceScore, score
from apsam_train.evaluate.summary import summarise
from apsam_train.models import APSAM
from apsam_train.segmenter import TorchSegmenter

_LIMITS = (0.25, 0.5, 0.75)


def by_first_mask(
    scores: Mapping[Asking, Sequence[InstanceScore]], *, seed: int
) -> list[dict[str, Any]]:
    """IoU of the click's own mask against that after adaptive points, for the same clicks, in
    groups of the former and of whether both points lie on the object:
    [{"from", "to", "both_on", "num_objects", "click", "apg"}]."""
    adapted = scores[Asking(protocol="apg", seed=seed)]
    first = np.array([s.iou for s in scores[Asking(protocol="random1", seed=seed)]])
    then = np.array([s.iou for s in adapted])
    on = np.array([s.points_on == 1 for s in adapted])
    groups = []
    for low, high in zip((0.0, *_LIMITS), (*_LIMITS, 1.0), strict=True):
        for both_on in (True, False):
            chosen = (first >= low) & ((first < high) | (high == 1.0)) & (on == both_on)
            if chosen.any():
                span = {"from": low, "to": high, "both_on": both_on}
                means = {"click": float(first[chosen].mean()), "apg": float(then[chosen].mean())}
                groups.append(span | {"num_objects": int(chosen.sum())} | means)
    return groups


def without_query(model: APSAM, source: SampleSource, asking: Asking, *, apg: ApgConfig) -> float:
    """mIoU of a trained model whose energy query is set to zero afterwards; changes the model."""
    with torch.no_grad():
        model.location_initializer.project.weight.zero_()
        model.location_initializer.project.bias.zero_()
    segmenter = TorchSegmenter(model, apg=apg)
    return summarise(score(segmenter, source, [asking])[asking]).miou


@torch.no_grad()
def attention_on_objects(model: APSAM, source: SampleSource) -> dict[str, float]:
    """{"attention": share of the attention that lies on objects, "area": what chance would give,
    "peaks": share of images whose strongest place lies on one}; means over images."""
    rows: list[tuple[float, float, float]] = []
    for _, sample in usable_samples(source, ProblemLog()):
        if not sample.instances:
            continue
        image, frame = letterbox(sample.image, side=model.preset.side)
        _, attention = model.encode_energy(torch.from_numpy(image)[None])
        union = np.any([one.mask for one in sample.instances], axis=0)
        cells = _halved(coverage(union, frame))
        weights: NDArray[np.float32] = attention[0].numpy()
        peak = np.unravel_index(int(weights.argmax()), weights.shape)
        rows.append((float((weights * cells).sum()), float(cells.mean()), float(cells[peak] > 0.5)))
    means = np.mean(rows, axis=0) if rows else np.zeros(3)
    return dict(zip(("attention", "area", "peaks"), map(float, means), strict=True))


def _halved(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Low-resolution mask cells [L, L] to attention cells [L / 2, L / 2]."""
    side = cells.shape[0] // 2
    means: NDArray[np.float32] = cells.reshape(side, 2, side, 2).mean(axis=(1, 3))
    return means


def diagnose(
    model: APSAM,
    source: SampleSource,
    scores: Mapping[Asking, Sequence[InstanceScore]],
    *,
    apg: ApgConfig,
    energy: bool,
    asking: Asking,
) -> dict[str, Any]:
    """Everything above for one trained arm; apg: how it makes adaptive points; asking: its own
    protocol. Changes the model."""
    found: dict[str, Any] = {"by_first_mask": by_first_mask(scores, seed=asking.seed)}
    if energy:
        found["attention"] = attention_on_objects(model, source)
        found["miou_without_query"] = without_query(model, source, asking, apg=apg)
    return found
