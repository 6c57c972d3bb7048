"""A model without a ViT: its graphs are its own lines, and its bundle passes the gate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apsam_export.export import export
from apsam_export.flops import count
from apsam_export.request import Request
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import PRESETS, build, with_category_head
from tests.train.models.test_pyramid import SMALL_PYRAMID


def test_a_pyramid_passes_the_gate_in_both_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "demo", SMALL_PYRAMID)
    torch.manual_seed(0)
    model = with_category_head(build(SMALL_PYRAMID))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    save_checkpoint(tmp_path / "model.safetensors", model, Card.of(model, {"data": "none"}))
    request = Request(twins=("fp16",))
    outcomes = export(tmp_path / "model.safetensors", tmp_path / "bundle", request=request)
    assert set(outcomes) == {"fp32", "fp16"}  # one that does not pass is refused


def test_nothing_is_saved_in_a_pyramid() -> None:
    flops = count(PRESETS["demo"])["image_encoder"]
    assert flops.exported == flops.published > 1e9
