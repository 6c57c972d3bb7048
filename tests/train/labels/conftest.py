"""A small model that names categories."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import APSAM, with_category_head


@pytest.fixture
def named_checkpoint(small_model: APSAM, tmp_path: Path) -> Path:
    """The small model with a head, as a file."""
    torch.manual_seed(0)
    named = with_category_head(small_model)
    file = tmp_path / "named.safetensors"
    save_checkpoint(file, named, Card.of(named, {}))
    return file


@pytest.fixture
def plain_checkpoint(small_model: APSAM, tmp_path: Path) -> Path:
    """The small model without a head, as a file."""
    file = tmp_path / "plain.safetensors"
    save_checkpoint(file, small_model, Card.of(small_model, {}))
    return file
