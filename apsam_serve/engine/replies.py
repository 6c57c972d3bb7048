"""What the engine answers: contract values and packed masks, no protocol messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point
from apsam_serve.engine.proposals import AttentionMap

STAGES = (
    "queue", "image", "transfer", "encode", "energy",
    "decode_1", "points", "decode_2", "mask", "serialise",
)  # fmt: skip
"""Of a call, in their order; on a CPU there is no transfer."""
Timings = Mapping[str, float]
"""Seconds by stage, see `STAGES`."""
Pack = Callable[[NDArray[np.bool_]], bytes]


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A held image. height, width: image pixels; created_s, expires_s: seconds since the epoch;
    held_bytes: memory that it takes; digests: SHA-256, hexadecimal."""

    handle: str
    height: int
    width: int
    created_s: float
    expires_s: float
    ttl_s: float
    held_bytes: int
    owner: str
    model_digest: str
    image_digest: str


@dataclass(frozen=True, kw_only=True)
class CreateReply:
    """A new held image and where the time went."""

    embedding: Embedding
    timings_s: Timings


@dataclass(frozen=True, kw_only=True)
class PackedSegmentation:
    """data: the packed mask; crc32 (zlib), sha256 (hexadecimal): of it; area: its pixels; the rest
    as in `contract.segmenter.Segmentation`."""

    data: bytes
    crc32: int
    sha256: str
    area: int
    score: float
    points: tuple[Point, ...]
    branch: str
    category: str | None
    category_probability: float | None
    mask_id: str


@dataclass(frozen=True, kw_only=True)
class SegmentReply:
    """One segmentation per prompt; expires_s: of the handle, None when nothing is held;
    image_digest: of the image that was segmented."""

    segmentations: Sequence[PackedSegmentation]
    height: int
    width: int
    model_digest: str
    image_digest: str
    expires_s: float | None
    timings_s: Timings


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """click: the attention's peak in image pixels; attention: over that at the strongest peak."""

    click: Point
    attention: float
    segmentation: PackedSegmentation


@dataclass(frozen=True, kw_only=True)
class ProposeReply:
    """The strongest peak first; attention: None unless it was asked for; the rest as in
    SegmentReply."""

    proposals: Sequence[Proposal]
    attention: AttentionMap | None
    height: int
    width: int
    model_digest: str
    image_digest: str
    expires_s: float | None
    timings_s: Timings


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that answers; current: new images are encoded with it."""

    digest: str
    preset: str
    form: str
    precision: str
    verified: bool
    categories: tuple[str, ...]
    current: bool
    num_embeddings: int


def added(*parts: Timings) -> Timings:
    """Stage by stage sums."""
    stages = dict.fromkeys(stage for part in parts for stage in part)
    return {stage: sum(part.get(stage, 0.0) for part in parts) for stage in stages}
