"""What a run writes about itself: JSON lines for programs, TensorBoard for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

LOG = "log.jsonl"


class Logbook:
    """Appends to OUT/log.jsonl, OUT/tensorboard and OUT/pictures. A resumed run goes on in the same
    files; lines of steps that it repeats appear twice, the later one counts."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> Logbook:
        self._lines = (self._out / LOG).open("a", encoding="utf-8")
        self._board = SummaryWriter(self._out / "tensorboard")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._board.close()

    def write(self, step: int, group: str, values: Mapping[str, float | str]) -> None:
        """One line; its numbers also as curves named group/name."""
        self._lines.write(json.dumps({"step": step, "kind": group} | dict(values)) + "\n")
        self._lines.flush()
        for name, value in values.items():
            if not isinstance(value, str):
                self._board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """An RGB picture uint8 [H, W, 3]."""
        folder = self._out / "pictures"
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{name}_{step:07d}.jpg"), image[..., ::-1])
        self._board.add_image(name, image, step, dataformats="HWC")
