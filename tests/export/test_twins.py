"""The types inside and outside the half-precision graphs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto

from apsam_export.passes import rewritten
from apsam_export.split import write_graph
from apsam_export.twins import TORCH_TYPES, Island, typed
from apsam_serve.contract.manifest import GRAPH_NAMES, Precision, open_bundle
from apsam_train.models import APSAM

_NAMES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
    TensorProto.INT64: "int64",
}


def types_of(graph: onnx.GraphProto) -> dict[str, int]:
    """Element type by tensor."""
    found = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        found[value.name] = value.type.tensor_type.elem_type
    return found


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_products_and_softmax_are_half_and_normalisations_are_not(bundle: Path, graph: str) -> None:
    model = onnx.load(bundle / f"{graph}.fp16.onnx")
    types = types_of(model.graph)
    counts: dict[tuple[str, int], int] = {}
    for node in model.graph.node:
        key = (node.op_type, types[node.output[0]])
        counts[key] = counts.get(key, 0) + 1
    assert ("LayerNormalization", TensorProto.FLOAT16) not in counts
    assert counts["LayerNormalization", TensorProto.FLOAT] > 0
    assert counts["Conv", TensorProto.FLOAT16] > 0
    assert ("Conv", TensorProto.FLOAT) not in counts
    if graph == "energy_encoder":  # its one softmax, over places, chooses among them
        assert counts["Softmax", TensorProto.FLOAT] == 1
    else:
        assert ("Softmax", TensorProto.FLOAT) not in counts
        assert counts["MatMul", TensorProto.FLOAT16] > 10
    if graph == "prompt_decoder":  # positions, and the IoU head's three layers
        assert counts["Gemm", TensorProto.FLOAT] == 3
        assert {types[n.output[0]] for n in model.graph.node if n.op_type == "Sin"} == {
            TensorProto.FLOAT
        }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_inputs_and_outputs_have_the_types_that_the_manifest_states(
    bundle: Path, precision: str
) -> None:
    build = open_bundle(bundle).manifest.builds[precision]
    for spec in build.graphs.values():
        types = types_of(onnx.load(bundle / spec.file).graph)
        for tensor in (*spec.inputs, *spec.outputs):
            assert _NAMES[types[tensor.name]] == tensor.dtype, tensor.name
    (held,) = build.graphs["image_encoder"].outputs
    assert held.dtype == ("float16" if precision == "fp16" else "float32")


def test_a_bf16_graph_is_sound_and_holds_embeddings_in_float32(
    model: APSAM, tmp_path: Path
) -> None:
    twin = typed(rewritten(model, "bf16"), "bf16")
    spec = write_graph(twin, "prompt_decoder", tmp_path, "bf16")
    graph = onnx.load(tmp_path / spec.file).graph
    types = types_of(graph)
    assert spec.file == "prompt_decoder.bf16.onnx"
    assert types["embedding"] == types["low_res_logits"] == TensorProto.FLOAT
    products = {types[node.output[0]] for node in graph.node if node.op_type == "MatMul"}
    assert TensorProto.BFLOAT16 in products
    assert TensorProto.FLOAT16 not in types.values()
    assert "ConvTranspose" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_twin_leaves_the_model_as_it_was(model: APSAM, precision: Precision) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = typed(rewritten(model, precision), precision)
    assert [m for m in twin.modules() if isinstance(m, Island)]
    weights = {parameter.dtype for parameter in twin.parameters()}
    assert weights == {TORCH_TYPES[precision], torch.float32}
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_fp32_is_the_model_itself(model: APSAM) -> None:
    assert typed(model, "fp32") is model
