"""Prompts: points and a box for one object, in image pixels, and the decoder's form of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.errors import InvalidPromptError

MAX_POINTS = 16
"""Points of one prompt, as a person gives them."""
MAX_DECODER_POINTS = MAX_POINTS + 4
"""The largest N of a decode, which compiled plans must have room for: 16 negative points and a
box's two corners, to which APG adds its two. (SAM's padding point stands where there is no box.)"""
MAX_PROMPTS = 64
"""Prompts of one call."""


class PointLabel(IntEnum):
    """What a point means to the prompt encoder (SAM's numbering)."""

    PADDING = -1
    NEGATIVE = 0
    POSITIVE = 1
    BOX_TOP_LEFT = 2
    BOX_BOTTOM_RIGHT = 3


@dataclass(frozen=True, kw_only=True)
class Point:
    """A click at (x, y) in image pixels; positive marks the object, negative what it is not."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in image pixels, left < right and top < bottom."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a person says about one object: at least one point or a box.

    To refine an earlier answer about the same image, give its low-resolution mask with all points
    of the object: mask_logits, float32 [L, L], in process; mask_id, `Segmentation.mask_id`, where
    the mask is held by a server.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask_logits: NDArray[np.float32] | None = None
    mask_id: str = ""

    @classmethod
    def click(cls, x: float, y: float) -> Prompt:
        """One positive click."""
        return cls(points=(Point(x=x, y=y),))


@dataclass(frozen=True, kw_only=True, eq=False)
class DecoderPrompt:
    """One prompt as the prompt/decoder graph takes it.

    coords: float32 [N, 2], (x, y) in model pixels; labels: float32 [N], see `PointLabel`;
    mask_logits: float32 [L, L] or None.
    """

    coords: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask_logits: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DecoderBatch:
    """P prompts of equal length as the prompt/decoder graph takes them.

    coords: float32 [P, N, 2]; labels: float32 [P, N]; mask_input: float32 [P, 1, L, L], zero where
    has_mask_input, float32 [P], is 0.
    """

    coords: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask_input: NDArray[np.float32]
    has_mask_input: NDArray[np.float32]

    @classmethod
    def of(cls, prompts: Sequence[DecoderPrompt], *, mask_side: int) -> DecoderBatch:
        """Stack prompts that all have the same number of points."""
        mask_input = np.zeros((len(prompts), 1, mask_side, mask_side), np.float32)
        has_mask_input = np.zeros(len(prompts), np.float32)
        for index, prompt in enumerate(prompts):
            if prompt.mask_logits is not None:
                mask_input[index, 0] = prompt.mask_logits
                has_mask_input[index] = 1
        return cls(
            coords=np.stack([prompt.coords for prompt in prompts]),
            labels=np.stack([prompt.labels for prompt in prompts]),
            mask_input=mask_input,
            has_mask_input=has_mask_input,
        )


def check_prompt(prompt: Prompt, *, height: int, width: int) -> None:
    """Raise InvalidPromptError unless the prompt fits an image of height x width pixels."""
    if not prompt.points and prompt.box is None:
        raise InvalidPromptError("prompt has 0 points and no box; give at least one of them")
    if len(prompt.points) > MAX_POINTS:
        raise InvalidPromptError(
            f"prompt has {len(prompt.points)} points; give at most {MAX_POINTS}"
        )
    for point in prompt.points:
        _check_inside(f"click ({point.x}, {point.y})", (point.x, point.y), height, width)
    if prompt.box is not None:
        _check_box(prompt.box, height, width)


def check_prompts(prompts: Sequence[Prompt], *, height: int, width: int) -> None:
    """Check every prompt of one call, and how many there are."""
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise InvalidPromptError(f"call has {len(prompts)} prompts; give 1 to {MAX_PROMPTS}")
    for prompt in prompts:
        check_prompt(prompt, height=height, width=width)


def to_decoder(prompt: Prompt, frame: LetterBox) -> DecoderPrompt:
    """Express a checked prompt in model pixels. A prompt without a box ends in SAM's padding point.

    Raises InvalidPromptError when `mask_logits` is not [L, L] or not finite.
    """
    coords = [(point.x, point.y) for point in prompt.points]
    labels = [PointLabel.POSITIVE if p.positive else PointLabel.NEGATIVE for p in prompt.points]
    if prompt.box is not None:
        coords += [(prompt.box.left, prompt.box.top), (prompt.box.right, prompt.box.bottom)]
        labels += [PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]
    side = frame.mask_side
    if prompt.mask_logits is not None and prompt.mask_logits.shape != (side, side):
        raise InvalidPromptError(
            f"mask_logits has shape {list(prompt.mask_logits.shape)}; expected [{side}, {side}]"
        )
    if prompt.mask_logits is not None and not np.isfinite(prompt.mask_logits).all():
        raise InvalidPromptError("mask_logits holds NaN or infinity; send back an earlier answer's")
    return decoder_points(
        frame.to_model(np.array(coords)),
        np.array(labels),
        pad=prompt.box is None,
        mask_logits=prompt.mask_logits,
    )


def decoder_points(
    coords: NDArray[np.floating],
    labels: NDArray[np.generic],
    *,
    pad: bool = True,
    mask_logits: NDArray[np.float32] | None = None,
) -> DecoderPrompt:
    """Build a DecoderPrompt from model-pixel points [N, 2], with SAM's padding point if `pad`."""
    if pad:
        coords = np.concatenate([coords, np.zeros((1, 2))])
        labels = np.concatenate([labels, [PointLabel.PADDING]])
    return DecoderPrompt(
        coords=coords.astype(np.float32),
        labels=labels.astype(np.float32),
        mask_logits=mask_logits,
    )


def _check_inside(what: str, point: tuple[float, float], height: int, width: int) -> None:
    x, y = point
    if not (np.isfinite(x) and np.isfinite(y)):
        raise InvalidPromptError(f"{what} is not a number; give finite pixel coordinates")
    if not (0 <= x < width and 0 <= y < height):
        raise InvalidPromptError(
            f"{what} lies outside the image of {width} x {height} pixels; "
            f"give 0 <= x < {width} and 0 <= y < {height}"
        )


def _check_box(box: Box, height: int, width: int) -> None:
    corners = (box.left, box.top, box.right, box.bottom)
    what = f"box {corners}"
    if not all(np.isfinite(value) for value in corners):
        raise InvalidPromptError(f"{what} is not a number; give finite pixel coordinates")
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise InvalidPromptError(
            f"{what} is empty or outside the image of {width} x {height} pixels; "
            f"give 0 <= left < right <= {width} and 0 <= top < bottom <= {height}"
        )
