"""The sizes that plans are compiled for, as data: every number of them stands here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apsam_serve.contract.prompts import MAX_DECODER_POINTS, MAX_PROMPTS


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What one free axis may be: from least to most, fastest at usual."""

    least: int
    usual: int
    most: int


Profile = Mapping[str, Sizes]
"""Free axis of the contract (B images, P prompts, N points) -> its sizes."""


def _up_to(least: int, most: int) -> Sizes:
    return Sizes(least=least, usual=most, most=most)


_IMAGES: tuple[Profile, ...] = (
    {"B": _up_to(1, 1)},
    {"B": _up_to(2, 2)},
    {"B": _up_to(3, 4)},
    {"B": _up_to(5, 8)},
    {"B": _up_to(9, 16)},
)
"""Buckets that touch, so that a batch of any size up to 16 runs without padding."""
_POINTS = Sizes(least=1, usual=3, most=MAX_DECODER_POINTS)
"""A click and its padding are 2, the two adaptive points and theirs are 3."""
_PROMPTS: tuple[Profile, ...] = (
    {"B": _up_to(1, 1), "P": _up_to(1, 1), "N": _POINTS},
    {
        "B": Sizes(least=1, usual=4, most=MAX_PROMPTS),
        "P": Sizes(least=1, usual=16, most=MAX_PROMPTS),
        "N": _POINTS,
    },
)
"""The click of one operator; everything else, up to a batch of clicks on as many images."""
PROFILES: Mapping[str, tuple[Profile, ...]] = {
    "image_encoder": _IMAGES,
    "energy_encoder": _IMAGES,
    "prompt_decoder": _PROMPTS,
}
