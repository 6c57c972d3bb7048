"""Requests as foreign clients build them, and the arrays of their answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.kserve import open_inference_pb2 as pb

DTYPES = {"BOOL": np.bool_, "UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32}
Sent = tuple[pb.ModelInferRequest.InferInputTensor, bytes]


def element(data: bytes) -> bytes:
    """BYTES [1] as raw contents."""
    return struct.pack("<I", len(data)) + data


def tensor(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Sent:
    """One input and its raw contents."""
    message = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    return message, raw


def image(pixels: NDArray[np.uint8]) -> Sent:
    return tensor("IMAGE", "UINT8", pixels.shape, pixels.tobytes())


def file(data: bytes) -> Sent:
    return tensor("FILE", "BYTES", [1], element(data))


def handle(name: bytes) -> Sent:
    return tensor("HANDLE", "BYTES", [1], element(name))


def points(values: Sequence[Sequence[tuple[float, float]]]) -> Sent:
    array = np.array(values, "<f4")
    return tensor("POINTS", "FP32", array.shape, array.tobytes())


def labels(values: Sequence[Sequence[int]]) -> Sent:
    array = np.array(values, "<i4")
    return tensor("LABELS", "INT32", array.shape, array.tobytes())


def request(
    model: str, *sent: Sent, outputs: Sequence[str] = (), **fields: Any
) -> pb.ModelInferRequest:
    """A call of a model with its tensors in raw contents."""
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor
    return pb.ModelInferRequest(
        model_name=model,
        inputs=[message for message, _ in sent],
        raw_input_contents=[raw for _, raw in sent],
        outputs=[wanted(name=name) for name in outputs],
        **fields,
    )


def encode(*sent: Sent, **fields: Any) -> pb.ModelInferRequest:
    return request("apsam_encode", *sent, **fields)


def segment(*sent: Sent, strategy: str = "", **fields: Any) -> pb.ModelInferRequest:
    if strategy:
        fields["parameters"] = {"strategy": pb.InferParameter(string_param=strategy)}
    return request("apsam_segment", *sent, **fields)


def arrays(response: pb.ModelInferResponse) -> dict[str, Any]:
    """The outputs by name; BYTES as lists."""
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: _array(output, raw) for output, raw in pairs}


def _array(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> Any:
    if output.datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[output.datatype]).reshape(output.shape)
    elements, start = [], 0
    while start < len(raw):
        (length,) = struct.unpack_from("<I", raw, start)
        elements.append(raw[start + 4 : start + 4 + length])
        start += 4 + length
    assert len(elements) == output.shape[0]
    return elements
