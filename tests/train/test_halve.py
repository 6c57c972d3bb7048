"""A checkpoint of half the size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.cli import main
from apsam_train.models import Preset, build
from apsam_train.sam_weights import file_sha256


@pytest.fixture
def checkpoint(small_preset: Preset, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build(small_preset)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, Card.of(model, {"data": "bags"}))
    return path


def test_weights_are_rounded_and_read_as_fp32(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "half.safetensors"
    assert main(["halve", str(checkpoint), "--out", str(out)]) == 0
    whole, half = load_file(checkpoint), load_file(out)
    assert all(torch.equal(half[name], whole[name].half()) for name in whole)
    assert 0.4 < out.stat().st_size / checkpoint.stat().st_size < 0.6
    model, card = load_checkpoint(out)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert card.training["data"] == "bags"
    origin = card.training["halved_from"]
    assert (origin["file"], origin["sha256"]) == (checkpoint.name, file_sha256(checkpoint))


def test_weights_beyond_fp16_are_refused_and_nothing_is_written(
    small_preset: Preset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(small_preset)
    torch.nn.init.constant_(model.mask_decoder.iou_token.weight, 7e4)
    path, out = tmp_path / "large.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(path, model, Card.of(model, {"data": "bags"}))
    assert main(["halve", str(path), "--out", str(out)]) == 2
    assert "iou_token.weight holds 7e+04, and FP16 ends at 65504" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [("half.pt", "must end in .safetensors"), ("model.safetensors", "exists already")],
)
def test_names_that_cannot_be_written_are_refused(
    checkpoint: Path, out: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checkpoint.read_bytes()
    assert main(["halve", str(checkpoint), "--out", str(checkpoint.with_name(out))]) == 2
    assert message in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
