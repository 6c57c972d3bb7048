"""What is known of an object before a model outlines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box
from apsam_train.data.boxes import mask_box
from apsam_train.data.sample import Sample


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownObject:
    """box: in image pixels, inside the image; rough: a mask bool [H, W] to be refined, if any."""

    category: str
    box: Box
    rough: NDArray[np.bool_] | None = None


def known_objects(sample: Sample, *, refine: bool) -> list[KnownObject]:
    """The objects to outline: those that only have a box and, with `refine`, those with a mask."""
    known = [KnownObject(category=one.category, box=one.box) for one in sample.boxes]
    return known + (_with_masks(sample) if refine else [])


def finished_objects(sample: Sample, *, refine: bool) -> list[KnownObject]:
    """The objects whose masks stay as they are, beside others of the image that have none yet."""
    return _with_masks(sample) if sample.boxes and not refine else []


def _with_masks(sample: Sample) -> list[KnownObject]:
    return [
        KnownObject(category=one.category, box=mask_box(one.mask), rough=one.mask)
        for one in sample.instances
    ]
