"""A tiny bundle with real arithmetic in its graphs, images, and servers over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from apsam_serve.client import Client
from apsam_serve.config import ServeConfig
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import (
    Build,
    Gate,
    GraphSpec,
    Manifest,
    ModelSpec,
    TensorSpec,
    write_manifest,
)
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.service.background import BackgroundServer

MODEL = ModelSpec(preset="tiny", side=64, embed_dim=8)
NAMED_MODEL = replace(MODEL, categories=("Gun", "Bullet", "Laptop"))
_TYPES = {
    "uint8": TensorProto.UINT8,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
}
Node = tuple[str, list[str], list[str], dict[str, object]]


@pytest.fixture(scope="session")
def model() -> ModelSpec:
    return MODEL


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 64 x 64 input; a click answers with a disc around it."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(path, MODEL)
    return path


@pytest.fixture(scope="session")
def named_model() -> ModelSpec:
    return NAMED_MODEL


@pytest.fixture(scope="session")
def named_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with a category head."""
    path = tmp_path_factory.mktemp("bundles") / "named"
    write_tiny_bundle(path, NAMED_MODEL)
    return path


@pytest.fixture
def fresh_bundle(tmp_path: Path) -> Path:
    """The same bundle, to be damaged."""
    write_tiny_bundle(tmp_path / "fresh", MODEL)
    return tmp_path / "fresh"


@pytest.fixture(scope="session")
def bag() -> NDArray[np.uint8]:
    """A white image uint8 [60, 80, 3] with a dark rectangle and an orange disc."""
    image = np.full((60, 80, 3), 255, np.uint8)
    image[10:40, 10:40] = (40, 60, 90)
    cv2.circle(image, (58, 38), 14, (220, 130, 40), -1)
    return image


@pytest.fixture(scope="session")
def bag_png(bag: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(bag, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture(scope="session")
def config(tiny_bundle: Path) -> ServeConfig:
    """Port 0 and the double."""
    return ServeConfig(bundle=tiny_bundle, listen="127.0.0.1:0", backend="fake", threads=1)


@pytest.fixture(scope="module")
def running(config: ServeConfig) -> Iterator[BackgroundServer]:
    with BackgroundServer(config) as server:
        yield server


@pytest.fixture
def client(running: BackgroundServer) -> Iterator[Client]:
    with Client(running.address, timeout_s=10) as connected:
        yield connected


@pytest.fixture
def serve(config: ServeConfig) -> Iterator[Callable[..., BackgroundServer]]:
    """Starts servers with other settings: `serve(ttl_s=0.1)`; they stop with the test."""
    started: list[BackgroundServer] = []

    def start(**changes: object) -> BackgroundServer:
        server = BackgroundServer(replace(config, **changes))  # type: ignore[arg-type]
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__(None, None, None)


def write_tiny_bundle(path: Path, model: ModelSpec) -> None:
    builders = {
        "image_encoder": _image_encoder,
        "energy_encoder": _energy_encoder,
        "prompt_decoder": _prompt_decoder,
    }
    graphs = {
        name: GraphSpec(file=f"{name}.onnx", inputs=inputs, outputs=outputs)
        for name, (inputs, outputs) in tensor_specs(model).items()
    }
    with new_folder(path) as folder:
        for name, build in builders.items():
            nodes, constants = build(model)
            onnx.save(_graph(graphs[name], nodes, constants), folder / f"{name}.onnx")
        write_manifest(
            folder, Manifest(model=model, builds={"fp32": tested(graphs)}, provenance={})
        )


def tested(graphs: Mapping[str, GraphSpec]) -> Build:
    """ONNX graphs in FP32 that count as held to their checkpoint."""
    gate = Gate(passed=True, detail="written for a test")
    return Build(form="onnx", precision="fp32", graphs=graphs, gate=gate)


def _graph(
    spec: GraphSpec, nodes: list[Node], constants: dict[str, NDArray[np.generic]]
) -> onnx.ModelProto:
    def infos(tensors: tuple[TensorSpec, ...]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(t.name, _TYPES[t.dtype], t.shape) for t in tensors]

    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **attrs) for kind, ins, outs, attrs in nodes],
        "tiny",
        infos(spec.inputs),
        infos(spec.outputs),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    built = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(built)
    return built


_TO_UNIT: list[Node] = [
    ("Cast", ["image"], ["real"], {"to": TensorProto.FLOAT}),
    ("Div", ["real", "full"], ["unit"], {}),
    ("Transpose", ["unit"], ["planes"], {"perm": [0, 3, 1, 2]}),
]


def _pool(stride: int) -> dict[str, object]:
    return {"kernel_shape": [stride, stride], "strides": [stride, stride]}


def _image_encoder(model: ModelSpec) -> tuple[list[Node], dict[str, NDArray[np.generic]]]:
    weight = np.linspace(-1, 1, model.embed_dim * 3, dtype=np.float32)
    nodes: list[Node] = [
        *_TO_UNIT,
        ("AveragePool", ["planes"], ["tokens"], _pool(model.token_stride)),
        ("Conv", ["tokens", "weight"], ["embedding"], {}),
    ]
    constants = {"full": np.float32(255), "weight": weight.reshape(model.embed_dim, 3, 1, 1)}
    return nodes, {name: np.asarray(value) for name, value in constants.items()}


def _energy_encoder(model: ModelSpec) -> tuple[list[Node], dict[str, NDArray[np.generic]]]:
    weight = np.linspace(0, 1, model.embed_dim * 3, dtype=np.float32)
    nodes: list[Node] = [
        *_TO_UNIT,
        ("ReduceMax", ["planes"], ["high"], {"axes": [2, 3], "keepdims": 0}),
        ("ReduceMin", ["planes"], ["low"], {"axes": [2, 3], "keepdims": 0}),
        ("Sub", ["high", "low"], ["range"], {}),
        ("MatMul", ["range", "weight"], ["energy_query"], {}),
        ("AveragePool", ["planes"], ["cells"], _pool(model.energy_stride)),
        ("ReduceMean", ["cells"], ["attention"], {"axes": [1], "keepdims": 0}),
    ]
    constants = {"full": np.float32(255), "weight": weight.reshape(3, model.embed_dim)}
    return nodes, {name: np.asarray(value) for name, value in constants.items()}


def _prompt_decoder(model: ModelSpec) -> tuple[list[Node], dict[str, NDArray[np.generic]]]:
    """logits[p] = max over positive points of r^2 - |cell - point|^2, shifted by the embedding."""
    low, masks = model.mask_side, model.num_masks
    centre = (np.arange(low, dtype=np.float32) + 0.5) * model.mask_stride
    cells = np.stack(np.meshgrid(centre, centre), axis=-1).reshape(1, 1, low * low, 2)
    nodes: list[Node] = [
        ("Unsqueeze", ["point_coords", "axis_2"], ["points"], {}),
        ("Sub", ["points", "cells"], ["offset"], {}),
        ("ReduceSumSquare", ["offset"], ["distance2"], {"axes": [3], "keepdims": 0}),
        ("Sub", ["radius2", "distance2"], ["inside"], {}),
        ("Equal", ["point_labels", "positive"], ["is_positive"], {}),
        ("Unsqueeze", ["is_positive", "axis_2"], ["chosen"], {}),
        ("Where", ["chosen", "inside", "far"], ["kept"], {}),
        ("ReduceMax", ["kept"], ["disc"], {"axes": [1], "keepdims": 0}),
        ("Reshape", ["disc", "plane"], ["mask"], {}),
        ("Gather", ["embedding", "image_index"], ["owned"], {"axis": 0}),
        ("ReduceMean", ["owned"], ["shift"], {"axes": [1, 2, 3], "keepdims": 1}),
        ("Gather", ["energy_query", "image_index"], ["query"], {"axis": 0}),
        ("ReduceMean", ["query"], ["energy"], {"axes": [1], "keepdims": 1}),
        ("Reshape", ["has_mask_input", "scalar"], ["has"], {}),
        ("Mul", ["mask_input", "has"], ["refined"], {}),
        ("Add", ["mask", "shift"], ["shifted"], {}),
        ("Add", ["shifted", "refined"], ["one"], {}),
        ("Add", ["one", "steps"], ["low_res_logits"], {}),
        ("Add", ["energy", "scores"], ["score"], {}),
        ("Sigmoid", ["score"], ["iou"], {}),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "axis_2": np.array([2]),
        "cells": cells,
        "radius2": np.asarray(np.float32((model.side / 5) ** 2)),
        "positive": np.asarray(np.float32(1)),
        "far": np.asarray(np.float32(-1e6)),
        "plane": np.array([-1, 1, low, low]),
        "scalar": np.array([-1, 1, 1, 1]),
        "steps": np.arange(masks, dtype=np.float32).reshape(1, masks, 1, 1),
        "scores": np.arange(masks, dtype=np.float32).reshape(1, masks) - 1,
    }
    if model.categories:
        nodes.append(("MatMul", ["query", "classes"], ["category_logits"], {}))
        weight = np.linspace(-1, 1, model.embed_dim * (1 + model.num_categories), dtype=np.float32)
        constants["classes"] = weight.reshape(model.embed_dim, -1)
    return nodes, constants
