"""What every peer offers: one image held, clicks answered on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt


class PeerUnavailableError(RuntimeError):
    """Raised by a peer that cannot run here; the message says what is missing. `open_peers` leaves
    it out and keeps the message."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """mask: bool [H, W] in image pixels; points: float32 [2, 2] (x, y) of the last decode in image
    pixels, or [1, 2], the click, when its mask is empty; stages: seconds by stage, if known."""

    mask: NDArray[np.bool_]
    points: NDArray[np.float32]
    stages: Mapping[str, float] = field(default_factory=dict)


class Peer(Protocol):
    """What a user could pick instead, and ours behind the same face."""

    name: str

    def encode(self, image: NDArray[np.uint8]) -> None:
        """Encode an RGB image uint8 [H, W, 3] and hold it instead of the one before."""
        ...

    def click(self, prompt: Prompt) -> Answer:
        """Answer one positive click on the held image with adaptive points."""
        ...

    def close(self) -> None:
        """Free what it holds; harmless when closed already."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """What peers are opened from: the checkpoint whose weights all of them run, its bundle for
    `in_process`, the HOST:PORT of a server of that bundle for `grpc`; threads: CPU threads of
    each."""

    checkpoint: Path
    bundle: Path | None = None
    address: str | None = None
    threads: int


def clicked(prompt: Prompt) -> NDArray[np.float32]:
    """The click of a prompt: [1, 2] (x, y) in image pixels. Raises ValueError for another prompt,
    which peers have no code for."""
    one = len(prompt.points) == 1 and prompt.points[0].positive
    if not one or prompt.box is not None or prompt.mask_logits is not None or prompt.mask_id:
        raise ValueError(f"{prompt} is not one positive click; peers answer nothing else")
    point = prompt.points[0]
    return np.array([[point.x, point.y]], np.float32)
