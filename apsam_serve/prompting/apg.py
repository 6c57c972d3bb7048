"""Adaptive points (paper 4.4): decode the click, put two points on its mask, decode those."""

from __future__ import annotations

import numpy as np

from apsam_serve.contract.apg import ApgConfig, adaptive_points
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt, PointLabel, decoder_points
from apsam_serve.prompting.base import Running
from apsam_serve.prompting.direct import answer


def strategy(prompt: DecoderPrompt, frame: LetterBox, config: ApgConfig) -> Running:
    """Replace the prompt's positive points by APG's two, unless the first mask is empty.

    Negative points and a box stay: the person said what the object is not, and where it ends.
    """
    first = yield prompt
    found = adaptive_points(first.best()[0], valid_cells=frame.valid_cells, config=config)
    if found.branch == "empty":
        return answer(prompt, first, branch="empty")
    kept = ~np.isin(prompt.labels, (PointLabel.POSITIVE, PointLabel.PADDING))
    second = decoder_points(
        np.concatenate([found.points, prompt.coords[kept]]),
        np.concatenate([np.full(len(found.points), PointLabel.POSITIVE), prompt.labels[kept]]),
        pad=PointLabel.BOX_TOP_LEFT not in prompt.labels,
    )
    return answer(second, (yield second), branch=found.branch)
