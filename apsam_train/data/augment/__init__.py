"""Random variation of training samples: where things lie, and how they look.

"view": another view of the same scanner: turns, crops, brightness. "scanner": as on the screens of
other scanners too, so that a model of synthetic bags makes sense of real pictures: distance,
palette, contrast, belt, noise, detector lines, sharpness, JPEG. All follows from the Generator.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apsam_train.data.augment.geometry import random_place
from apsam_train.data.augment.machine import (
    random_jpeg,
    random_lines,
    random_noise,
    random_sharpness,
)
from apsam_train.data.augment.tone import (
    random_belt,
    random_exposure,
    random_palette,
    random_tone,
)
from apsam_train.data.sample import Sample

Augment = Literal["none", "view", "scanner"]

_STEPS = (
    (0.7, random_noise),
    (0.75, random_sharpness),
    (0.9, random_palette),
    (0.3, random_lines),
    (0.6, random_exposure),
    (0.5, random_belt),
    (0.4, random_jpeg),
)
"""(chance, step) in the order in which light becomes a file. Noise and sharpness come before the
colours: that is how thin metal gets its black outline and dark metal its speckles."""


def random_view(
    sample: Sample,
    augment: Augment,
    rng: np.random.Generator,
    *,
    closeup: float | None = None,
) -> Sample:
    """The sample seen from elsewhere; masks follow. Colours stay. closeup: only the surroundings
    of one object, about this part of the picture's longer side."""
    if augment == "none":
        return sample
    return random_place(sample, rng, from_afar=augment == "scanner", closeup=closeup)


def random_look(
    image: NDArray[np.uint8], augment: Augment, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] in other colours; nothing moves."""
    if augment == "none":
        return image
    if augment == "view":
        return random_tone(image, rng)
    for chance, step in _STEPS:
        if rng.random() < chance:
            image = step(image, rng)
    return image
