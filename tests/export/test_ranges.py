"""What FP16 cannot hold is found before a bundle is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from apsam_export.errors import RangeError
from apsam_export.ranges import LARGEST, check_ranges
from apsam_serve.contract.manifest import GRAPH_NAMES, Build, ModelSpec, open_bundle


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


@pytest.fixture
def fp16(bundle: Path) -> Build:
    return open_bundle(bundle).manifest.builds["fp16"]


@pytest.fixture
def spec(bundle: Path) -> ModelSpec:
    return open_bundle(bundle).manifest.model


def scale_weights(file: Path, operator: str, factor: float) -> None:
    """Multiply the constant second input of the first node of that kind."""
    model = onnx.load(file)
    node = next(n for n in model.graph.node if n.op_type == operator)
    weights = next(t for t in model.graph.initializer if t.name == node.input[1])
    scaled = (numpy_helper.to_array(weights).astype(np.float32) * factor).astype(np.float16)
    weights.CopyFrom(numpy_helper.from_array(scaled, weights.name))
    onnx.save(model, file)


def test_the_largest_half_precision_value_of_every_graph_is_known(
    folder: Path, fp16: Build, spec: ModelSpec
) -> None:
    before = sorted(folder.rglob("*"))
    found = check_ranges(folder, fp16, spec)
    assert set(found) == set(GRAPH_NAMES)
    for graph, entry in found.items():
        nodes = onnx.load(folder / f"{graph}.fp16.onnx").graph.node
        assert entry["tensor"] in {name for node in nodes for name in node.output}
        assert 0 < float(str(entry["largest"])) < LARGEST / 4
    assert sorted(folder.rglob("*")) == before, "something was left in the folder"


@pytest.mark.parametrize("factor", [3e4, 1.2e5])
def test_a_value_near_the_end_of_fp16_or_beyond_it_is_refused(
    folder: Path, fp16: Build, spec: ModelSpec, factor: float
) -> None:
    scale_weights(folder / "energy_encoder.fp16.onnx", "Conv", factor)
    message = r"of energy_encoder reaches .*; FP16 ends at 65504.*export with --precision bf16"
    with pytest.raises(RangeError, match=message):
        check_ranges(folder, fp16, spec)


def test_a_bundle_says_what_was_measured(bundle: Path) -> None:
    ranges = open_bundle(bundle).manifest.provenance["ranges"]
    assert set(ranges) == set(GRAPH_NAMES)
    assert all(entry["headroom"] > 4 for entry in ranges.values())
