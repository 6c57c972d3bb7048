"""What the worker runs: images and questions through a model, wherever its memory is.

`host` runs any back end with NumPy between its graphs; `device_compute` keeps everything on a
device. Both know the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import ModelSpec, Precision
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.contract.tensors import DTYPES
from apsam_serve.engine.replies import Timings
from apsam_serve.errors import ModelFaultError
from apsam_serve.prompting.base import Answer


class Encoded(Protocol):
    """One encoded image, with room for low-resolution masks of earlier answers about it."""

    @property
    def attention(self) -> NDArray[np.float32]:
        """Host memory [S / 8, S / 8]: where the energy branch looked."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Prompts about one encoded image. refine: for each prompt the mask plane of `encoded` that it
    refines, or None; keep: the plane that its answer's low-resolution mask goes to, or None."""

    encoded: Encoded
    frame: LetterBox
    prompts: Sequence[DecoderPrompt]
    refine: Sequence[int | None]
    keep: Sequence[int | None]
    strategy: StrategyName = "apg"
    apg: ApgConfig


class Compute(Protocol):
    """A model with its memory. One thread at a time uses it; `forget` is safe from any."""

    @property
    def held_bytes(self) -> int:
        """What one Encoded takes, its mask planes included."""
        ...

    @property
    def warm_prompts(self) -> Sequence[int]:
        """Numbers of prompts of which each is slow the first times."""
        ...

    def encode(self, pixels: Sequence[Pixels]) -> tuple[list[Encoded], Timings]:
        """Encode letter-boxed pixels, [S, S, 3] each, in one batch. Returns (images, seconds by
        stage).

        Raises ModelFaultError, OutOfMemoryError or DeviceFaultError, as does `answer`; nothing is
        kept then.
        """
        ...

    def answer(self, questions: Sequence[Question]) -> tuple[list[list[Answer]], Timings]:
        """Answer each question's prompts in shared batches. Returns (answers, seconds by stage)."""
        ...

    def forget(self, encoded: Encoded) -> None:
        """Its room may be used for another image; nothing may be running on it."""
        ...

    def close(self) -> None:
        """Free what this object allocated; the runner is its owner's to close."""
        ...


def encoded_bytes(model: ModelSpec, precision: Precision, *, num_masks: int) -> int:
    """What one encoded image takes in host memory with that many mask planes, known before the
    image is."""
    typed = model.embed_dim * model.grid * model.grid + model.embed_dim
    attention = (model.side // model.energy_stride) ** 2
    floats = attention + num_masks * model.mask_side**2
    return typed * np.dtype(DTYPES[precision]).itemsize + floats * np.dtype(np.float32).itemsize


def require_numbers(what: str, values: NDArray[np.floating] | None, num_prompts: int) -> None:
    """Raise ModelFaultError for NaN or infinity."""
    if values is not None and not np.isfinite(values).all():
        raise ModelFaultError(
            f"the decoder answered {what} that are no numbers, for {num_prompts} prompts; export "
            "the bundle again, or run it in a higher precision"
        )
