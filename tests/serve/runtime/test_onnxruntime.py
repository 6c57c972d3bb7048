"""ONNX Runtime: it checks what it loads, and never runs elsewhere than asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from apsam_serve.contract.manifest import (
    GraphSpec,
    TensorSpec,
    open_bundle,
    write_manifest,
)
from apsam_serve.errors import BackendUnavailableError, BundleError
from apsam_serve.runtime.base import RunnerOptions
from apsam_serve.runtime.onnxruntime import create


def resign(folder: Path, file: str, data: bytes) -> None:
    """Replace one file of a bundle and hash it again, as a careless exporter would."""
    manifest = open_bundle(folder).manifest
    (folder / file).write_bytes(data)
    write_manifest(folder, replace(manifest, files={}))


def test_a_missing_device_stops_the_start_and_lists_what_exists(tiny_bundle: Path) -> None:
    runner = create(open_bundle(tiny_bundle), RunnerOptions(device="tpu"))
    with pytest.raises(BackendUnavailableError, match=r"cannot run on device 'tpu'.*offers.*cpu"):
        runner.open()


def test_a_graph_of_another_shape_is_refused(fresh_bundle: Path) -> None:
    graph = onnx.load(fresh_bundle / "image_encoder.onnx")
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    resign(fresh_bundle, "image_encoder.onnx", graph.SerializeToString())
    message = r"image_encoder.onnx: output .* 'embedding' is float32 \[1, .*expected float32 \['B'"
    with pytest.raises(BundleError, match=message):
        create(open_bundle(fresh_bundle), RunnerOptions(threads=1)).open()


def test_a_manifest_that_promises_other_tensors_is_refused(fresh_bundle: Path) -> None:
    manifest = open_bundle(fresh_bundle).manifest
    wrong = GraphSpec(
        file="image_encoder.onnx",
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=("B", 64, 64, 3)),),
        outputs=manifest.builds["fp32"].graphs["image_encoder"].outputs,
    )
    build = manifest.builds["fp32"]
    graphs = {**build.graphs, "image_encoder": wrong}
    builds = {"fp32": replace(build, graphs=graphs)}
    write_manifest(fresh_bundle, replace(manifest, builds=builds, files={}))
    with pytest.raises(BundleError, match=r"manifest.json: input .*\['pixels'\]; expected"):
        create(open_bundle(fresh_bundle), RunnerOptions(threads=1)).open()


def test_a_graph_that_names_no_categories_though_the_manifest_does_is_refused(
    fresh_bundle: Path,
) -> None:
    manifest = open_bundle(fresh_bundle).manifest
    named = replace(manifest.model, categories=("Gun",))
    write_manifest(fresh_bundle, replace(manifest, model=named, files={}))
    message = r"output of prompt_decoder are \['iou', 'low_res_logits'\]; expected \['category_log"
    with pytest.raises(BundleError, match=message):
        create(open_bundle(fresh_bundle), RunnerOptions(threads=1)).open()


def test_bytes_that_are_no_graph_are_refused(fresh_bundle: Path) -> None:
    resign(fresh_bundle, "prompt_decoder.onnx", b"not a graph")
    with pytest.raises(BundleError, match=r"prompt_decoder.onnx cannot be loaded.*export"):
        create(open_bundle(fresh_bundle), RunnerOptions(threads=1)).open()
