"""Whether FP16 is wide enough: the largest value of every half-precision tensor of a twin.

The calibration images are other ones than the gate's. A value beyond 65504 is an infinity on a GPU
and poisons a mask without a trace; the gate sees it only if its own images provoke it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from apsam_export.errors import RangeError
from apsam_export.gate.samples import sample
from apsam_serve.contract.manifest import GRAPH_NAMES, Build, GraphSpec, ModelSpec
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.contract.prompts import DecoderBatch, to_decoder

LARGEST = 65504.0
"""Of FP16."""
MIN_HEADROOM = 4.0
"""How often the largest value seen must fit into the largest there is."""
CALIBRATION = (1000, 1001)
"""Numbers of the samples."""
Feeds = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Range:
    """largest: of all |values| of half-precision tensors of a graph, seen in `tensor`."""

    tensor: str
    largest: float

    @property
    def headroom(self) -> float:
        """How often `largest` fits into FP16; 0 for what is no number."""
        return LARGEST / max(self.largest, 1e-6) if np.isfinite(self.largest) else 0.0


def check_ranges(folder: Path, build: Build, model: ModelSpec) -> dict[str, dict[str, object]]:
    """Graph -> its `Range` over the calibration images, for the FP16 build in `folder`.

    Raises RangeError for a graph whose values come too close to the end of FP16.
    """
    seen: dict[str, Range] = {}
    for number in CALIBRATION:
        known = _feeds(number, model)
        for graph in GRAPH_NAMES:
            spec = build.graphs[graph]
            feeds = {tensor.name: known[tensor.name] for tensor in spec.inputs}
            found, outputs = _measure(folder, spec, feeds)
            known |= outputs
            seen[graph] = max(found, seen.get(graph, found), key=lambda r: r.largest)
    for graph, found in seen.items():
        if not found.headroom >= MIN_HEADROOM:
            raise RangeError(
                f"{found.tensor} of {graph} reaches {found.largest:.4g}; FP16 ends at "
                f"{LARGEST:.0f}, and {MIN_HEADROOM:.0f} times more than was seen must fit: export "
                "with --precision bf16; the bundle was not written"
            )
    return {graph: {**asdict(found), "headroom": found.headroom} for graph, found in seen.items()}


def _feeds(number: int, model: ModelSpec) -> Feeds:
    """Image and clicks of one sample, by the graphs' names for them."""
    drawn = sample(number, side=model.side)
    pixels, frame = letterbox(drawn.image, side=model.side)
    prompts = [to_decoder(one.prompt, frame) for one in drawn.prompts if one.prompt.box is None]
    num_points = min(len(prompt.labels) for prompt in prompts)
    clicks = [prompt for prompt in prompts if len(prompt.labels) == num_points]
    batch = DecoderBatch.of(clicks, mask_side=model.mask_side)
    return {
        "image": pixels[None],
        "image_index": np.zeros(len(clicks), np.int64),
        "point_coords": batch.coords,
        "point_labels": batch.labels,
        "mask_input": batch.mask_input,
        "has_mask_input": batch.has_mask_input,
    }


def _measure(folder: Path, spec: GraphSpec, feeds: Feeds) -> tuple[Range, Feeds]:
    """The largest value inside a graph for these inputs, and its outputs."""
    graph = onnx.load(folder / spec.file, load_external_data=False)
    watched = _watch(graph)
    file = folder / f".ranges.{spec.file}"  # here, because weights beside a graph are found by name
    try:
        onnx.save(graph, file)
        session = _session(file)
        names = [tensor.name for tensor in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
    finally:
        file.unlink(missing_ok=True)
    largest = {tensor: float(outputs.pop(probe)) for tensor, probe in watched.items()}
    tensor = max(largest, key=lambda name: np.nan_to_num(largest[name], nan=np.inf))
    return Range(tensor=tensor, largest=largest[tensor]), outputs


def _watch(model: onnx.ModelProto) -> dict[str, str]:
    """Add max |value| of every half-precision tensor as an output: tensor -> output's name."""
    graph = model.graph
    half = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    watched: dict[str, str] = {}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        for name in half.intersection(node.output):
            watched[name] = f"{name}.largest"
            graph.node.extend(_probe(name, watched[name]))
            graph.output.append(helper.make_tensor_value_info(watched[name], TensorProto.FLOAT, []))
    return watched


def _probe(tensor: str, result: str) -> list[onnx.NodeProto]:
    wide, size = f"{tensor}.wide", f"{tensor}.size"
    return [
        helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT),
        helper.make_node("Abs", [wide], [size]),
        helper.make_node("ReduceMax", [size], [result], keepdims=0),
    ]


def _session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # In the order of the file: else all probes run last, and every tensor lives until then.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
