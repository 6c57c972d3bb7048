"""Training and model on a CUDA device: `make test-gpu`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apsam_train.checkpoint import load_checkpoint
from apsam_train.config import read_config
from apsam_train.data.formats import open_dataset
from apsam_train.fit import fit
from apsam_train.models import APSAM, Preset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@torch.no_grad()
def test_the_encoders_agree_with_the_cpu(small_model: APSAM) -> None:
    side = small_model.preset.side
    image = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    expected = small_model.encode_image(image), *small_model.encode_energy(image)
    moved = small_model.cuda()
    found = moved.encode_image(image.cuda()), *moved.encode_energy(image.cuda())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, atol=2e-3, rtol=2e-3)


def test_training_runs_and_its_checkpoint_loads_on_the_cpu(
    small_preset: Preset, blocks_dataset: Path, tmp_path: Path
) -> None:
    config = replace(read_config("tiny"), batch_size=4, epochs=4, num_workers=0, apg_start=0.5)
    model, card = load_checkpoint(fit(config, source=open_dataset(blocks_dataset), out=tmp_path))
    assert card.training["device"] == "cuda"
    assert next(model.parameters()).device.type == "cpu"
