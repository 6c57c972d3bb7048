"""The Segmenter protocol: what evaluation, benchmarks and clients see of any APSAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point, Prompt

StrategyName = Literal["direct", "apg"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """The answer to one prompt.

    mask: bool [H, W] in image pixels; score: predicted IoU in [0, 1];
    points: the points of the last decode, in image pixels (APG's two, or the prompt's own);
    branch: what APG did ("clusters", "fallback", "empty"), or "direct";
    category: one of the bundle's names, None for no contraband or from a model without a category
    head; category_probability: of that class, no contraband being one too, in (0, 1]; None from a
    model without that head;
    low_res_logits: float32 [L, L], to refine; None where it stays on a server, which names it
    mask_id ("" where it is not kept);
    timings_s: seconds by stage.
    """

    mask: NDArray[np.bool_]
    score: float
    points: tuple[Point, ...]
    branch: str
    category: str | None = None
    category_probability: float | None = None
    low_res_logits: NDArray[np.float32] | None = None
    mask_id: str = ""
    timings_s: Mapping[str, float] = field(default_factory=dict)


class EncodedImage(Protocol):
    """An encoded image that answers prompts until it is released."""

    @property
    def height(self) -> int:
        """Height in image pixels."""
        ...

    @property
    def width(self) -> int:
        """Width in image pixels."""
        ...

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "apg"
    ) -> list[Segmentation]:
        """Answer each prompt, in order. Raises InvalidPromptError."""
        ...

    def release(self) -> None:
        """Forget the image; harmless when it is gone already."""
        ...


class Segmenter(Protocol):
    """Encodes images; one per checkpoint, bundle or server."""

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Encode an RGB image uint8 [H, W, 3]. Raises InvalidImageError."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...
