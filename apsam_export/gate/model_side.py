"""The checkpoint as a side of the comparison: PyTorch, FP32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_export.gate.sides import Tensors
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.prompts import DecoderBatch
from apsam_serve.prompting.base import DecoderOutput
from apsam_train.models import APSAM


class ModelSide:
    """Implements `sides.Side` over the model as it was trained."""

    def __init__(self, model: APSAM) -> None:
        self._model = model.eval()

    @property
    def model(self) -> ModelSpec:
        return self._model.preset.spec

    @torch.no_grad()
    def encode(self, frame: NDArray[np.uint8]) -> Tensors:
        batch = torch.from_numpy(frame)[None]
        query, attention = self._model.encode_energy(batch)
        tensors = {"embedding": self._model.encode_image(batch), "energy_query": query}
        return {name: t[0].numpy() for name, t in (tensors | {"attention": attention}).items()}

    @torch.no_grad()
    def decode(
        self, encoded: Sequence[Tensors], image_index: NDArray[np.int64], batch: DecoderBatch
    ) -> list[DecoderOutput]:
        def stacked(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([tensors[name] for tensors in encoded]))

        decoded = self._model.decode(
            embedding=stacked("embedding"),
            energy_query=stacked("energy_query"),
            image_index=torch.from_numpy(image_index),
            point_coords=torch.from_numpy(batch.coords),
            point_labels=torch.from_numpy(batch.labels),
            mask_input=torch.from_numpy(batch.mask_input),
            has_mask_input=torch.from_numpy(batch.has_mask_input),
        )
        category = decoded.category_logits
        return DecoderOutput.split(
            logits=decoded.logits.numpy(),
            iou=decoded.iou.numpy(),
            category_logits=None if category is None else category.numpy(),
        )
