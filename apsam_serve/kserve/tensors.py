"""Tensors of a request to values, and values to tensors of a response.

Name, type, shape and number of bytes are checked first; nothing is allocated for what is wrong.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.errors import InvalidInputError
from apsam_serve.kserve import open_inference_pb2 as pb
from apsam_serve.kserve.models import FREE, Datatype, Model, Tensor

_DTYPES: dict[Datatype, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype("<i4"),
    "FP32": np.dtype("<f4"),
}
_CONTENTS: dict[Datatype, str] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "FP32": "fp32_contents",
    "BYTES": "bytes_contents",
}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """One input. data: its elements, row-major and little-endian; of BYTES, its one element."""

    shape: tuple[int, ...]
    data: bytes

    def array(self, dtype: str) -> NDArray[Any]:
        """Of its shape, read-only."""
        return np.frombuffer(self.data, dtype).reshape(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output. data: as the protocol's raw contents have it."""

    datatype: Datatype
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: NDArray[np.generic]) -> Output:
        """An array of one of the types in `models.Datatype`."""
        (datatype,) = (name for name, dtype in _DTYPES.items() if dtype == values.dtype)
        return cls(datatype=datatype, shape=values.shape, data=values.tobytes())

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Output:
        """BYTES [K], UTF-8."""
        parts = [text.encode() for text in texts]
        data = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
        return cls(datatype="BYTES", shape=(len(parts),), data=data)


def is_raw(request: pb.ModelInferRequest) -> bool:
    """Whether the elements are in `raw_input_contents`, where they cost nothing to read."""
    return bool(request.raw_input_contents)


def inputs_from(request: pb.ModelInferRequest, model: Model) -> dict[str, Sent]:
    """The inputs by name. Raises InvalidInputError."""
    known = {tensor.name: tensor for tensor in model.inputs}
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInputError(
            f"{len(request.inputs)} inputs come with {len(raw)} raw_input_contents; send one per "
            "input, in their order"
        )
    sent: dict[str, Sent] = {}
    for index, message in enumerate(request.inputs):
        name = message.name
        if name not in known:
            raise InvalidInputError(
                f"input {name[:64]!r} is unknown to {model.name}; it takes {', '.join(known)}"
            )
        if name in sent:
            raise InvalidInputError(f"input {name} was sent twice; send it once")
        refuse_parameters(f"input {name}", message.parameters)
        shape = _checked_shape(message, known[name])
        if raw and message.HasField("contents"):
            raise InvalidInputError(
                f"input {name} has contents beside raw_input_contents; send one of them"
            )
        data = (
            _from_raw(raw[index], shape, known[name])
            if raw
            else _from_contents(message.contents, shape, known[name])
        )
        sent[name] = Sent(shape=shape, data=data)
    missing = [t.name for t in model.inputs if not t.optional and t.name not in sent]
    if missing:
        raise InvalidInputError(f"{model.name} needs input {missing[0]}; send it along")
    return sent


def wanted_from(request: pb.ModelInferRequest, given: Sequence[Tensor]) -> list[str]:
    """The outputs that are asked for, in order: all where none is named.

    Raises InvalidInputError.
    """
    known = [tensor.name for tensor in given]
    wanted: list[str] = []
    for message in request.outputs:
        if message.name not in known:
            raise InvalidInputError(
                f"output {message.name[:64]!r} is unknown to {request.model_name}; it gives "
                f"{', '.join(known)}"
            )
        if message.name in wanted:
            raise InvalidInputError(f"output {message.name} is asked for twice; ask once")
        refuse_parameters(f"output {message.name}", message.parameters)
        wanted.append(message.name)
    return wanted or known


def refuse_parameters(what: str, parameters: Mapping[str, pb.InferParameter]) -> None:
    """Raise InvalidInputError: to read over a parameter is to answer another question."""
    if parameters:
        raise InvalidInputError(
            f"{what} has parameter {min(parameters)[:64]!r}, which this server does not know; send "
            "the elements themselves, without shared memory or classification"
        )


def response_to(
    request: pb.ModelInferRequest, version: str, outputs: Mapping[str, Output], digest: str
) -> pb.ModelInferResponse:
    """The response to a request. digest: of the model."""
    describe = pb.ModelInferResponse.InferOutputTensor
    return pb.ModelInferResponse(
        model_name=request.model_name,
        model_version=version,
        id=request.id,
        parameters={"model_digest": pb.InferParameter(string_param=digest)},
        outputs=[
            describe(name=name, datatype=output.datatype, shape=output.shape)
            for name, output in outputs.items()
        ],
        raw_output_contents=[output.data for output in outputs.values()],
    )


def _checked_shape(
    message: pb.ModelInferRequest.InferInputTensor, tensor: Tensor
) -> tuple[int, ...]:
    shape, wanted = tuple(message.shape), tensor.shape
    if message.datatype != tensor.datatype:
        raise InvalidInputError(
            f"input {tensor.name} is {message.datatype[:16]!r}; send {tensor.datatype}"
        )
    fits = len(shape) == len(wanted) and all(
        have >= 1 and need in (FREE, have) for have, need in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"input {tensor.name} has shape {list(shape[:8])}; send {list(wanted)}, where {FREE} "
            "is any number from 1"
        )
    return shape


def _from_raw(raw: bytes, shape: tuple[int, ...], tensor: Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        if len(raw) < _LENGTH.size or _LENGTH.unpack_from(raw)[0] != len(raw) - _LENGTH.size:
            raise InvalidInputError(
                f"input {tensor.name} of {len(raw)} raw bytes is not one element after its length "
                "in 4 bytes, little-endian; serialise it as BYTES"
            )
        return raw[_LENGTH.size :]
    expected = math.prod(shape) * _DTYPES[tensor.datatype].itemsize
    if len(raw) != expected:
        raise InvalidInputError(
            f"input {tensor.name} has {len(raw)} raw bytes; {tensor.datatype} {list(shape)} has "
            f"{expected}"
        )
    return raw


def _from_contents(
    contents: pb.InferTensorContents, shape: tuple[int, ...], tensor: Tensor
) -> bytes:
    field = _CONTENTS[tensor.datatype]
    elements = getattr(contents, field)
    if len(elements) != math.prod(shape):
        raise InvalidInputError(
            f"input {tensor.name} has {len(elements)} elements in {field}; {tensor.datatype} "
            f"{list(shape)} has {math.prod(shape)}"
        )
    if tensor.datatype == "BYTES":
        (element,) = elements
        return bytes(element)
    try:
        return np.array(elements, _DTYPES[tensor.datatype]).tobytes()
    except OverflowError as error:
        raise InvalidInputError(
            f"input {tensor.name} has elements that are no {tensor.datatype} ({error})"
        ) from error
