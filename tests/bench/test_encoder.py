"""The encoder's benchmark in miniature."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from apsam_export.flops import count
from apsam_export.passes import rewritten
from apsam_export.split import write_graph
from apsam_serve.contract.manifest import open_bundle, write_manifest
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import PRESETS, build
from bench import ceiling, encoder
from bench.ceiling import Shape
from bench.encoder import FUSED, NARROW, ORIGINAL, PRODUCT, ours
from bench.models import ModelFiles
from tests.train.conftest import SMALL

PRESET = replace(SMALL, stem="patch", depth=1, global_blocks=())


@pytest.fixture
def files(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFiles:
    """A small model, and its image encoder among the tiny bundle's other graphs."""
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    torch.manual_seed(0)
    model = build(PRESET).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    bundle, checkpoint = tmp_path / "bundle", tmp_path / "model.safetensors"
    shutil.copytree(tiny_bundle, bundle)
    save_checkpoint(checkpoint, model, Card.of(model, {"data": "none"}))
    manifest = open_bundle(bundle).manifest
    (name, fake), *_ = manifest.builds.items()
    graphs = {
        **fake.graphs,
        "image_encoder": write_graph(rewritten(model), "image_encoder", bundle),
    }
    builds = {name: replace(fake, graphs=graphs)}
    write_manifest(bundle, replace(manifest, model=PRESET.spec, builds=builds))
    return ModelFiles(checkpoint=checkpoint, bundle=bundle, note="random weights")


def test_every_encoder_has_a_row_with_speed_beside_accuracy(
    files: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "bundle_of", lambda _preset: files)
    shape = Shape(rows=8, inputs=16, outputs=32)
    monkeypatch.setitem(ceiling.SHAPES, "cpu", (shape,))
    path = tmp_path / "encoder.json"
    words = ["--presets", "tiny", "--batches", "1,2", "--rounds", "2", "--threads", "1"]
    assert encoder.main([*words, "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    rows = {(row["group"], row["name"]): row for row in document["rows"]}
    assert document["settings"]["weights"] == {"tiny": "random weights"}
    flops = count(PRESET)["image_encoder"]
    gflop = {name: flop / 1e9 for name, flop in asdict(flops).items()}
    for batch in (1, 2):
        group = f"image encoder, tiny, batch {batch}"
        assert [name for found, name in rows if found == group] == [
            ORIGINAL, NARROW, FUSED, ours("fp32"), PRODUCT,
        ]  # fmt: skip
        own = {name: row["figures"] for (found, name), row in rows.items() if found == group}
        for name in (ORIGINAL, NARROW, FUSED, ours("fp32")):
            assert own[name].keys() == {
                "gflop", "gflop_per_s", "share_of_ceiling", "max_difference",
            }  # fmt: skip
        assert own[ours("fp32")]["gflop"] == batch * gflop["exported"]
        assert own[ORIGINAL]["gflop"] == batch * gflop["published"]
        assert 0 < own[NARROW]["gflop"] < own[FUSED]["gflop"]  # relative positions as columns
        assert 0 < own[ours("fp32")]["max_difference"] < 1e-4
        assert own[ORIGINAL]["max_difference"] == 0
    whole = "whole encode with the Energy-Aware Encoder, tiny, batch 1"
    assert {name for found, name in rows if found == whole} == {ORIGINAL, ours("fp32")}
    figures = {figure["key"]: figure for figure in document["figures"]}
    assert figures.keys() == {"encode_tiny_vs_eager", "encode_tiny_vs_ceiling"}
    assert all(one["low"] <= one["value"] <= one["high"] for one in figures.values())
