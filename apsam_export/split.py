"""Write the three ONNX graphs of a model."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch

from apsam_export.graphs import GRAPHS, TracingSizes, free_axes, tracing_inputs
from apsam_serve.contract.manifest import GraphSpec, Precision
from apsam_serve.contract.tensors import tensor_specs
from apsam_train.models import APSAM

OPSETS: dict[Precision, int] = {"fp32": 20, "fp16": 20, "bf16": 22}
"""The oldest that hold the operators: convolutions take bfloat16 from 22 on."""
LARGEST_WITHIN = 256 * 2**20
"""Bytes of weights that a graph's own file holds. Protobuf ends at 2 GiB, and to write one file of
ViT-L takes four times its size in memory; from here on they lie beside it."""


def write_graph(model: APSAM, graph: str, folder: Path, precision: Precision = "fp32") -> GraphSpec:
    """Export one graph of `GRAPHS` of a model, `twins.typed` in this precision, to
    `folder/<graph>.onnx` (`<graph>.fp16.onnx`), with its weights in `<file>.data` if they are
    large, and return its contract."""
    spec = model.preset.spec
    inputs, outputs = tensor_specs(spec, precision)[graph]
    file = folder / (f"{graph}.onnx" if precision == "fp32" else f"{graph}.{precision}.onnx")
    module = GRAPHS[graph](model, precision).eval()
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            tracing_inputs(graph, spec, TracingSizes(), precision),
            dynamo=True,
            opset_version=OPSETS[precision],
            input_names=[tensor.name for tensor in inputs],
            output_names=[tensor.name for tensor in outputs],
            dynamic_shapes=free_axes([tensor.shape for tensor in inputs]),
            verbose=False,
        )
    assert program is not None
    weights = program.model.graph.initializers.values()
    external = sum(w.const_value.nbytes for w in weights if w.const_value) > LARGEST_WITHIN
    program.save(file, external_data=external)
    onnx.checker.check_model(str(file), full_check=True)
    data = (f"{file.name}.data",) if external else ()
    return GraphSpec(file=file.name, inputs=inputs, outputs=outputs, data=data)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns of axis names shared between inputs, which is what the contract means."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
