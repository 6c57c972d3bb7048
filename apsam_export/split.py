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
from apsam_serve.contract.manifest import GraphSpec
from apsam_serve.contract.tensors import tensor_specs
from apsam_train.models import APSAM

OPSET = 20


def write_graph(model: APSAM, graph: str, folder: Path) -> GraphSpec:
    """Export one graph of `GRAPHS` to `folder/<graph>.onnx` and return its contract."""
    spec = model.preset.spec
    inputs, outputs = tensor_specs(spec)[graph]
    file = folder / f"{graph}.onnx"
    with _quiet_exporter():
        torch.onnx.export(
            GRAPHS[graph](model).eval(),
            tracing_inputs(graph, spec, TracingSizes()),
            file,
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in inputs],
            output_names=[tensor.name for tensor in outputs],
            dynamic_shapes=free_axes([tensor.shape for tensor in inputs]),
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(str(file), full_check=True)
    return GraphSpec(file=file.name, inputs=inputs, outputs=outputs)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns of axis names shared between inputs, which is what the contract means."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
