"""What tests of the device path ask of a device or of the host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt, to_decoder
from apsam_serve.engine.compute import Encoded, Question

PLANES = 3
"""Masks that each image has room for."""
Image = NDArray[np.uint8]


def pixels_of(image: Image) -> tuple[Pixels, LetterBox]:
    """A picture uint8 [H, W, 3] for the tiny model, and where it lies."""
    frame, box = letterbox(image, side=64)
    return Pixels(image=frame, energy=frame), box


def click_on(encoded: Encoded, frame: LetterBox, **changes: Any) -> Question:
    """About the middle of the image; its mask is kept in plane 0."""
    x, y = frame.width / 2, frame.height / 2
    asked = Question(
        encoded=encoded,
        frame=frame,
        prompts=[to_decoder(Prompt.click(x, y), frame)],
        refine=[None],
        keep=[0],
        apg=ApgConfig(),
    )
    return replace(asked, **changes)
