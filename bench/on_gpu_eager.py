"""What encoders on a GPU are held against: the original model in eager FP16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_train.checkpoint import load_checkpoint
from bench.gpu_clock import device_ms
from bench.peers.sam_shape import AdaptedEncoder

NAME = "segment_anything, eager fp16"


class Eager:
    """The image encoder of a checkpoint, on a device."""

    def __init__(self, checkpoint: Path, *, device: str) -> None:
        self._device = device
        self._model = load_checkpoint(checkpoint)[0].eval().to(device)
        self._encoder = AdaptedEncoder(self._model).eval().half()

    def encode_ms(self, images: NDArray[np.uint8]) -> float:
        """Encode letter-boxed images uint8 [B, S, S, 3] from the host's memory and wait. Returns
        the device's own ms from bytes to embeddings, which is what our graph does too."""
        with torch.inference_mode():
            sent = torch.from_numpy(images).to(self._device)
            return device_ms(lambda: self._encode(sent), device=self._device)

    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self._encoder(self._model.normalise(images).half())
        return embeddings
