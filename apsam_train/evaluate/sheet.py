"""Pictures in the form of the paper's figures 6 (input, truth, methods) and 7 (energy maps)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.segmenter import Segmenter
from apsam_train.data.dataset import usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample, SampleSource
from apsam_train.evaluate.protocols import Protocol
from apsam_train.evaluate.score import answer
from apsam_train.pictures import Picture, panel, sheet

_PANEL = (300, 300)


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A column of figure 6."""

    segmenter: Segmenter
    protocol: Protocol


def comparison(
    source: SampleSource, methods: Mapping[str, Method], *, seed: int, num_rows: int
) -> Picture:
    """Figure 6: an image per row; input, truth, then each method's masks, the points of its last
    decode and its mean IoU. RGB uint8 [H, W, 3]; the prompts are those of `score` with this seed.
    """
    panels: list[Picture] = []
    for index, sample in usable_samples(source, ProblemLog()):
        if not sample.instances or len(panels) >= num_rows * (2 + len(methods)):
            continue
        truth = [(one.category, one.mask) for one in sample.instances]
        panels.append(panel(sample.image, title=sample.name, size=_PANEL))
        panels.append(panel(sample.image, masks=truth, title="truth", size=_PANEL))
        panels += [
            _answered(sample, name, method, seed=[seed, index]) for name, method in methods.items()
        ]
    return sheet(panels, columns=2 + len(methods))


def energy_maps(source: SampleSource, *, num_rows: int) -> Picture:
    """Figure 7: an image per row, its largest and its smallest channel (eq. 14)."""
    panels: list[Picture] = []
    for index in range(min(num_rows, len(source))):
        image = source[index].image
        panels.append(panel(image, title="image", size=_PANEL))
        for title, grey in (("max grey", image.max(axis=2)), ("min grey", image.min(axis=2))):
            panels.append(panel(_as_rgb(grey), title=title, size=_PANEL))
    return sheet(panels, columns=3)


def _answered(sample: Sample, name: str, method: Method, *, seed: list[int]) -> Picture:
    encoded = method.segmenter.encode(sample.image)
    try:
        answers = answer(encoded, sample, method.protocol, seed=seed)
    finally:
        encoded.release()
    pairs = list(zip(answers, sample.instances, strict=True))
    iou = np.mean([mask_iou(given.mask, one.mask) for given, one in pairs])
    return panel(
        sample.image,
        masks=[(one.category, given.mask) for given, one in pairs],
        points=[point for given in answers for point in given.points],
        title=f"{name}: IoU {iou:.2f}",
        size=_PANEL,
    )


def _as_rgb(grey: NDArray[np.uint8]) -> Picture:
    return np.repeat(grey[..., None], 3, axis=2)
