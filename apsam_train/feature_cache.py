"""Embeddings kept on disk where nothing in the image encoder trains and views do not vary.

A frozen ViT-L is most of a step's cost, and with augmentation off it computes the same embedding in
every epoch.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apsam_train.data.training import TrainingItem
from apsam_train.models import APSAM


class FeatureCache:
    """One file per sample below `folder`, which is named after the weights: other weights never
    meet these embeddings. Several processes may share it."""

    def __init__(self, folder: Path, model: APSAM, *, data: str) -> None:
        """data: description of the data set that `TrainingItem.sample_index` counts in."""
        self._folder = folder / _digest(model, data)
        self._folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def embed(self, model: APSAM, item: TrainingItem) -> Tensor:
        """Embeddings float32 [B, C, G, G] of a collated item, computed at most once per sample."""
        return torch.stack(
            [
                self._one(model, image, index)
                for image, index in zip(item.image, item.sample_index.tolist(), strict=True)
            ]
        )

    def _one(self, model: APSAM, image: Tensor, index: int) -> Tensor:
        file = self._folder / f"{index:08d}.npy"
        if file.exists():
            return torch.from_numpy(np.load(file)).to(image.device)
        embedding = model.encode_image(image.unsqueeze(0))[0].float()
        partial = file.with_name(f".{index:08d}.{os.getpid()}.npy")
        np.save(partial, embedding.cpu().numpy())
        os.replace(partial, file)
        return embedding


def _digest(model: APSAM, data: str) -> str:
    digest = hashlib.sha256(data.encode())
    for part in (model.image_encoder, model.adapters):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
