"""A checkpoint as a Segmenter: PyTorch, FP32, the same strategies that serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import (
    DecoderBatch,
    DecoderPrompt,
    Prompt,
    check_prompts,
    to_decoder,
)
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.prompting import load
from apsam_serve.prompting.base import DecoderOutput, run
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models import APSAM
from apsam_train.sam_weights import frozen_sam


def open_checkpoint(path: str | Path, sam: str | Path | None = None) -> TorchSegmenter:
    """Open a checkpoint, or an official SAM .pth file as it is, for evaluation; sam: the SAM file
    of a delta, where it does not lie beside it. Raises CheckpointError."""
    if Path(path).suffix == ".pth":
        model, apg = frozen_sam(Path(path)), ApgConfig()
    else:
        model, card = load_checkpoint(Path(path), sam=None if sam is None else Path(sam))
        apg = card.apg
    return TorchSegmenter(model.to("cuda" if torch.cuda.is_available() else "cpu"), apg=apg)


class TorchSegmenter:
    """Implements `contract.segmenter.Segmenter` on a model, on the device that it is on."""

    def __init__(self, model: APSAM, *, apg: ApgConfig | None = None) -> None:
        self._model = model.eval()
        self._apg = apg or ApgConfig()

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> TorchImage:
        frame_image, frame = letterbox(image, side=self._model.preset.side)
        batch = torch.from_numpy(frame_image)[None].to(self._model.pixel_mean.device)
        embedding = self._model.encode_image(batch)
        energy_query, _ = self._model.encode_energy(batch)
        return TorchImage(self._model, frame, embedding, energy_query, self._apg)

    def close(self) -> None:
        """Nothing to free."""


class TorchImage:
    """Implements `contract.segmenter.EncodedImage`."""

    def __init__(
        self,
        model: APSAM,
        frame: LetterBox,
        embedding: Tensor,
        energy_query: Tensor,
        apg: ApgConfig,
    ) -> None:
        self._model = model
        self._frame = frame
        self._embedding = embedding
        self._energy_query = energy_query
        self._apg = apg

    @property
    def height(self) -> int:
        return self._frame.height

    @property
    def width(self) -> int:
        return self._frame.width

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "apg"
    ) -> list[Segmentation]:
        check_prompts(prompts, height=self.height, width=self.width)
        start = load(strategy)
        running = [start(to_decoder(p, self._frame), self._frame, self._apg) for p in prompts]
        answers, timings = run(running, self._decode)
        names = self._model.preset.spec.categories
        return [answer.segmentation(self._frame, timings, categories=names) for answer in answers]

    def release(self) -> None:
        """Nothing to free before garbage collection."""

    @torch.no_grad()
    def _decode(
        self, _which: Sequence[int], prompts: Sequence[DecoderPrompt]
    ) -> list[DecoderOutput]:
        batch = DecoderBatch.of(prompts, mask_side=self._frame.mask_side)
        device = self._embedding.device
        decoded = self._model.decode(
            embedding=self._embedding,
            energy_query=self._energy_query,
            image_index=torch.zeros(len(prompts), dtype=torch.int64, device=device),
            point_coords=torch.from_numpy(batch.coords).to(device),
            point_labels=torch.from_numpy(batch.labels).to(device),
            mask_input=torch.from_numpy(batch.mask_input).to(device),
            has_mask_input=torch.from_numpy(batch.has_mask_input).to(device),
        )
        category = decoded.category_logits
        return DecoderOutput.split(
            logits=decoded.logits.cpu().numpy(),
            iou=decoded.iou.cpu().numpy(),
            category_logits=None if category is None else category.cpu().numpy(),
        )
