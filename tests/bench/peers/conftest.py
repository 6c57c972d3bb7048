"""A small checkpoint, and what our own PyTorch answers for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import APSAM
from apsam_train.segmenter import open_checkpoint
from bench.peers.apsam import SegmenterPeer
from bench.peers.base import Source
from tests.train.conftest import small_model, small_preset

__all__ = ["checkpoint", "noise", "ours", "small_model", "small_preset", "source"]


@pytest.fixture
def checkpoint(small_model: APSAM, tmp_path: Path) -> Path:
    """Its adaptive points lie in a core."""
    card = Card.of(small_model, {"config": {"apg": {"core": 0.05}}})
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small_model, card)
    return path


@pytest.fixture
def source(checkpoint: Path) -> Source:
    return Source(checkpoint=checkpoint, threads=1)


@pytest.fixture
def ours(checkpoint: Path) -> SegmenterPeer:
    return SegmenterPeer("ours", open_checkpoint(checkpoint))


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    """An image of the model's own size, and so without any resizing: uint8 [64, 64, 3]."""
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
