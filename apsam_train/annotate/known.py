"""What is known of an object before a model outlines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box
from apsam_train.annotate.boxes import box_of
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
    found = []
    for instance in sample.instances:
        box = box_of(instance.mask)
        assert box is not None, "an empty mask is left out when a sample is read"
        found.append(KnownObject(category=instance.category, box=box, rough=instance.mask))
    return found
