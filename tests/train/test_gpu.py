"""Training and model on a CUDA device: `make test-gpu`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apsam_serve.contract.prompts import Prompt
from apsam_train.checkpoint import load_checkpoint
from apsam_train.config import read_config
from apsam_train.data.formats import open_dataset
from apsam_train.fit import fit
from apsam_train.models import APSAM, Preset
from apsam_train.models.attention import attend
from apsam_train.models.sam_parts import Block
from apsam_train.segmenter import open_checkpoint

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


def test_training_in_half_precision_resumes_and_answers_on_the_device(
    small_preset: Preset, blocks_dataset: Path, tmp_path: Path
) -> None:
    config = replace(
        read_config("tiny"),
        batch_size=4,
        epochs=2,
        num_workers=0,
        precision="bf16",
        checkpointing=True,
        ema_decay=0.9,
        category_weight=0.1,
        negatives_per_image=1,
        box_share=0.3,
        save_every=1,
    )
    source = open_dataset(blocks_dataset)
    fit(config, source=source, out=tmp_path)
    longer = replace(config, epochs=4)
    model_file = fit(longer, source=source, validation=source, out=tmp_path, resume=True)
    segmenter = open_checkpoint(model_file)
    (answer,) = segmenter.encode(source[0].image).segment([Prompt.click(20, 20)])
    assert answer.mask.shape == (48, 64)


def test_attention_agrees_with_the_cpu() -> None:
    block = Block(dim=64, num_heads=2, use_rel_pos=True, window_size=3, input_size=(7, 7)).eval()
    x = torch.randn(2, 7, 7, 64)
    with torch.no_grad():
        expected = attend(block, x)
        found = attend(block.cuda(), x.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)
