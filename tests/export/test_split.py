"""Where the weights of a graph lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from apsam_export import split
from apsam_export.split import write_graph
from apsam_serve.contract.manifest import Build, Gate, Manifest, open_bundle, write_manifest
from apsam_serve.errors import BundleError
from apsam_serve.runtime import base
from apsam_train.models import APSAM


@pytest.fixture
def beside(bundle: Path, model: APSAM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle whose image encoder's weights lie beside its graph."""
    monkeypatch.setattr(split, "LARGEST_WITHIN", 1000)
    folder = tmp_path / "beside"
    folder.mkdir()
    graphs = dict(open_bundle(bundle).manifest.builds["fp32"].graphs)
    for name in ("energy_encoder", "prompt_decoder"):
        (folder / f"{name}.onnx").write_bytes((bundle / f"{name}.onnx").read_bytes())
    graphs["image_encoder"] = write_graph(model, "image_encoder", folder)
    gate = Gate(passed=True, detail="for a test")
    builds = {"fp32": Build(form="onnx", precision="fp32", graphs=graphs, gate=gate)}
    write_manifest(folder, Manifest(model=model.preset.spec, builds=builds, provenance={}))
    return folder


def test_large_weights_lie_beside_their_graph_under_its_name(beside: Path, model: APSAM) -> None:
    spec = open_bundle(beside).manifest.builds["fp32"].graphs["image_encoder"]
    assert spec.data == ("image_encoder.onnx.data",)
    graph = onnx.load(beside / spec.file, load_external_data=False).graph
    places = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert places == {"image_encoder.onnx.data"}
    runner = base.load("onnxruntime")(open_bundle(beside), base.RunnerOptions(threads=1))
    runner.open()
    image = np.full((1, model.preset.side, model.preset.side, 3), 77, np.uint8)
    with torch.no_grad():
        want = model.encode_image(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(runner.encode(image).embedding, want, atol=1e-4)
    runner.close()


def test_a_bundle_without_the_weights_or_with_others_is_refused(beside: Path) -> None:
    data = beside / "image_encoder.onnx.data"
    content = data.read_bytes()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"image_encoder.onnx.data is not the file that was"):
        open_bundle(beside)
    data.unlink()
    with pytest.raises(BundleError, match=r"image_encoder.onnx.data is missing"):
        open_bundle(beside)


def test_small_weights_lie_within(bundle: Path) -> None:
    for build in open_bundle(bundle).manifest.builds.values():
        assert all(graph.data == () for graph in build.graphs.values())
