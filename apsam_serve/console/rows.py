"""What a project holds: images, objects on them, and what became of each object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.masks import Mask, Rle, decode_rle
from apsam_serve.contract.prompts import Box
from apsam_serve.errors import InvalidInputError

Status = Literal["open", "done"]
Source = Literal["click", "proposal", "imported"]
Verdict = Literal["accepted", "corrected", "rejected"]
Action = Literal["saved", "changed", "removed"]

MAX_PROMPT_BYTES = 64 * 2**10
"""Bytes of JSON that are kept of a prompt: sixteen points and a box take one thousand."""
MAX_REVIEWER_CHARACTERS = 100
MAX_DIGEST_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """An image. name: relative to the imported folder, with "/"; suffix: of its file, ".png",
    ".jpg" or ".tif"; num_objects: that were not rejected; reviewer, round: of the person who set it
    to done, "" and 0 before; times: ISO 8601, UTC."""

    id: int
    name: str
    sha256: str
    suffix: str
    height: int
    width: int
    status: Status
    num_objects: int
    reviewer: str
    round: int
    created: str
    changed: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class NewObject:
    """An object to be saved. category: one of `CATEGORIES`, None where nobody knows; score: the
    model's predicted IoU, None where a person drew it; prompt: what was asked, as JSON;
    model_digest: of the bundle that answered."""

    mask: Rle
    category: str | None = None
    score: float | None = None
    source: Source = "click"
    verdict: Verdict = "accepted"
    reviewer: str = ""
    round: int = 1
    prompt: Mapping[str, Any] | None = None
    model_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class ObjectRow:
    """A saved object. box: the tight one, its right and bottom just outside the mask; area: its
    pixels; the rest as in `NewObject`."""

    id: int
    image_id: int
    category: str | None
    mask: Rle
    box: Box
    area: int
    score: float | None
    source: Source
    verdict: Verdict
    reviewer: str
    round: int
    prompt: Mapping[str, Any] | None
    model_digest: str
    created: str
    changed: str

    def document(self) -> dict[str, Any]:
        """As JSON; the mask in COCO's form."""
        return {**asdict(self), "mask": rle_document(self.mask)}


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """One step of an object. state: the object's document after it, or as it was when removed."""

    id: int
    object_id: int
    image_id: int
    action: Action
    at: str
    state: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def rle_document(mask: Rle) -> dict[str, Any]:
    """COCO's form of a mask: {"size": [H, W], "counts": ...}."""
    return {"size": [mask.height, mask.width], "counts": mask.counts}


def measure(mask: Rle, *, height: int, width: int) -> tuple[Box, int]:
    """Tight box and area of a mask. Raises InvalidInputError for an empty mask or one of another
    size than the image."""
    if (mask.height, mask.width) != (height, width):
        raise InvalidInputError(
            f"mask is {mask.width} x {mask.height} pixels, the image {width} x {height}; send the "
            "mask of this image"
        )
    pixels = decode_rle(mask)
    if not pixels.any():
        raise InvalidInputError("mask has no pixel; click again, or leave the object out")
    return box_of(pixels), int(np.count_nonzero(pixels))


def box_of(mask: Mask) -> Box:
    """The tight box of a mask bool [H, W] that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return Box(
        left=int(columns[0]), top=int(rows[0]), right=int(columns[-1]) + 1, bottom=int(rows[-1]) + 1
    )


def check_values(new: NewObject) -> None:
    """Raise InvalidInputError unless everything but the mask is what it should be."""
    if new.category is not None and new.category not in CATEGORIES:
        raise InvalidInputError(
            f"category {new.category!r} is none of the {len(CATEGORIES)}: {', '.join(CATEGORIES)}; "
            "choose one of them, or null"
        )
    check_choice("source", new.source, get_args(Source))
    check_choice("verdict", new.verdict, get_args(Verdict))
    check_reviewer(new.reviewer, new.round)
    if not new.model_digest.isprintable() or len(new.model_digest) > MAX_DIGEST_CHARACTERS:
        raise InvalidInputError(
            f"model_digest {new.model_digest[:80]!r} must have at most {MAX_DIGEST_CHARACTERS} "
            "printable characters"
        )
    if new.score is not None and not 0 <= new.score <= 1:
        raise InvalidInputError(f"score {new.score} must lie in [0, 1], or be null")
    if new.prompt is not None and len(to_json(new.prompt)) > MAX_PROMPT_BYTES:
        raise InvalidInputError(
            f"prompt has {len(to_json(new.prompt))} bytes of JSON; send at most {MAX_PROMPT_BYTES}"
        )


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InvalidInputError unless a value is one of a few words."""
    if value not in choices:
        raise InvalidInputError(f"{what} {value!r} must be one of {', '.join(choices)}")


def check_reviewer(reviewer: str, number: int) -> None:
    """Raise InvalidInputError unless it can be a name, "" for nobody, and a round, from 0 on."""
    if not reviewer.isprintable() or len(reviewer) > MAX_REVIEWER_CHARACTERS:
        raise InvalidInputError(
            f"reviewer {reviewer[:MAX_REVIEWER_CHARACTERS]!r} must be a name of at most "
            f"{MAX_REVIEWER_CHARACTERS} characters"
        )
    if not 0 <= number < 2**31:
        raise InvalidInputError(f"round {number} must be a whole number from 0 on")


def to_json(value: object) -> str:
    """Compact JSON. Raises InvalidInputError for NaN, infinity and what JSON has no form of."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"prompt is no JSON ({error}); send plain values") from error
