"""What the engine answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point

Timings = Mapping[str, float]
"""Seconds by stage: queue, image, encode, decode_1, points, decode_2, mask, serialise."""
Pack = Callable[[NDArray[np.bool_]], bytes]
"""Turns a mask bool [H, W] into the bytes of a reply."""


@dataclass(frozen=True, kw_only=True)
class EncodeReply:
    """height, width: image pixels; ttl_s: seconds from now until the unused handle expires;
    held_bytes: memory that it takes."""

    handle: str
    height: int
    width: int
    ttl_s: float
    held_bytes: int
    timings_s: Timings


@dataclass(frozen=True, kw_only=True)
class PackedSegmentation:
    """data: the packed mask; the rest as in `contract.segmenter.Segmentation`."""

    data: bytes
    score: float
    points: tuple[Point, ...]
    branch: str
    category: str | None
    category_probability: float | None


@dataclass(frozen=True, kw_only=True)
class SegmentReply:
    """One segmentation per prompt; ttl_s: as in EncodeReply, None when nothing is held."""

    segmentations: Sequence[PackedSegmentation]
    height: int
    width: int
    ttl_s: float | None
    timings_s: Timings


def added(*parts: Timings) -> Timings:
    """Stage by stage sums."""
    stages = dict.fromkeys(stage for part in parts for stage in part)
    return {stage: sum(part.get(stage, 0.0) for part in parts) for stage in stages}
