"""Exports at SAM's real sizes, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from apsam_export.passes import rewritten
from apsam_export.plans.compiling import compile_plans
from apsam_export.split import write_graph
from apsam_export.twins import typed
from apsam_serve.contract.manifest import Build, Gate, Manifest, open_bundle, write_manifest
from apsam_serve.runtime import base
from apsam_train.models import PRESETS, build

pytestmark = pytest.mark.slow


def test_vit_b_exports_with_its_weights_beside_it_and_its_fp16_encoder_compiles(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = build(PRESETS["vit_b"]).eval()
    graphs = {
        graph: write_graph(rewritten(model), graph, tmp_path)
        for graph in ("image_encoder", "energy_encoder", "prompt_decoder")
    }
    assert graphs["image_encoder"].data == ("image_encoder.onnx.data",)
    assert (tmp_path / "image_encoder.onnx").stat().st_size < 5e6
    gate = Gate(passed=True, detail="for a test")
    builds = {"fp32": Build(form="onnx", precision="fp32", graphs=graphs, gate=gate)}
    write_manifest(tmp_path, Manifest(model=model.preset.spec, builds=builds, provenance={}))
    runner = base.load("onnxruntime")(open_bundle(tmp_path), base.RunnerOptions())
    runner.open()
    image = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    found = runner.encode(image).embedding
    runner.close()
    with torch.no_grad():
        want = model.encode_image(torch.from_numpy(image)).numpy()
    assert np.abs(found - want).max() < 1e-4 * np.abs(want).max()

    twin = typed(rewritten(model, "fp16"), "fp16")
    encoder = write_graph(twin, "image_encoder", tmp_path, "fp16")
    specs, compiled = compile_plans(
        tmp_path,
        form="tensorrt_rtx",
        graphs={"image_encoder": encoder},
        model=model.preset.spec,
        precision="fp16",
        cache=tmp_path / "cache",
    )
    plan = (tmp_path / specs["image_encoder"].file).read_bytes()
    assert len(plan) > (tmp_path / encoder.file).stat().st_size
    assert compiled["sources"]["image_encoder"].keys() >= {"image_encoder.fp16.onnx"}
    # TensorRT-RTX ships the source of what it fuses: attention of all twelve blocks, windows of
    # 64 + 14 + 14 numbers widened to 96 and global blocks of 64 + 32 + 32.
    assert b"_gemm_mha_v2" in plan
