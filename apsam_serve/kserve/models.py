"""The two models as KServe's clients see them: names, tensors, metadata, configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apsam_serve.errors import InvalidInputError
from apsam_serve.kserve import open_inference_pb2 as pb

Datatype = Literal["BOOL", "UINT8", "INT32", "FP32", "BYTES"]
PLATFORM = "apsam"
VERSION = "1"
FREE = -1
"""An axis of any length."""
_CONFIG_TYPES: dict[Datatype, pb.DataType] = {
    "BOOL": pb.TYPE_BOOL,
    "UINT8": pb.TYPE_UINT8,
    "INT32": pb.TYPE_INT32,
    "FP32": pb.TYPE_FP32,
    "BYTES": pb.TYPE_STRING,
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output. shape: elements per axis, FREE for any number."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Model:
    """What one model takes and gives."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def metadata(self, *, named: bool) -> pb.ModelMetadataResponse:
        """named: whether the bundle names categories."""
        describe = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=self.name,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=[describe(name=t.name, datatype=t.datatype, shape=t.shape) for t in self.inputs],
            outputs=[
                describe(name=t.name, datatype=t.datatype, shape=t.shape)
                for t in self.given(named=named)
            ],
        )

    def config(self, *, named: bool) -> pb.ModelConfig:
        """The same in Triton's form."""
        return pb.ModelConfig(
            name=self.name,
            platform=PLATFORM,
            backend=PLATFORM,
            max_batch_size=0,
            input=[
                pb.ModelInput(
                    name=t.name,
                    data_type=_CONFIG_TYPES[t.datatype],
                    dims=t.shape,
                    optional=t.optional,
                )
                for t in self.inputs
            ],
            output=[
                pb.ModelOutput(name=t.name, data_type=_CONFIG_TYPES[t.datatype], dims=t.shape)
                for t in self.given(named=named)
            ],
        )

    def given(self, *, named: bool) -> tuple[Tensor, ...]:
        """The outputs, CATEGORY only where the bundle names categories."""
        return tuple(t for t in self.outputs if named or t.name != "CATEGORY")


_IMAGES = (
    Tensor(name="IMAGE", datatype="UINT8", shape=(FREE, FREE, 3), optional=True),
    Tensor(name="FILE", datatype="BYTES", shape=(1,), optional=True),
)
ENCODE = Model(
    name="apsam_encode",
    inputs=_IMAGES,
    outputs=(
        Tensor(name="HANDLE", datatype="BYTES", shape=(1,)),
        Tensor(name="SIZE", datatype="INT32", shape=(2,)),
    ),
)
"""IMAGE [H, W, 3] RGB, or FILE, a PNG, JPEG or TIFF; gives HANDLE and SIZE, (H, W)."""
SEGMENT = Model(
    name="apsam_segment",
    inputs=(
        Tensor(name="POINTS", datatype="FP32", shape=(FREE, FREE, 2)),
        Tensor(name="LABELS", datatype="INT32", shape=(FREE, FREE), optional=True),
        Tensor(name="HANDLE", datatype="BYTES", shape=(1,), optional=True),
        *_IMAGES,
    ),
    outputs=(
        Tensor(name="MASK", datatype="BOOL", shape=(FREE, FREE, FREE)),
        Tensor(name="SCORE", datatype="FP32", shape=(FREE,)),
        Tensor(name="POINTS", datatype="FP32", shape=(FREE, FREE, 2)),
        Tensor(name="LABELS", datatype="INT32", shape=(FREE, FREE)),
        Tensor(name="BRANCH", datatype="BYTES", shape=(FREE,)),
        Tensor(name="CATEGORY", datatype="BYTES", shape=(FREE,)),
    ),
)
"""POINTS [P, N, 2], (x, y) in image pixels, with LABELS [P, N], 1 on the object, 0 beside it, -1 no
point, about HANDLE, IMAGE or FILE; gives MASK [P, H, W], SCORE [P], POINTS and LABELS of the last
decode, [P, M, 2] and [P, M], (NaN, NaN) and -1 where there are fewer than M, which is 2 or more;
BRANCH [P]; CATEGORY [P]."""
MODELS = {model.name: model for model in (ENCODE, SEGMENT)}


def find(name: str, version: str) -> Model:
    """The model of that name. Raises InvalidInputError for others, and for other versions."""
    if name not in MODELS:
        raise InvalidInputError(f"model {name[:64]!r} is unknown; ask for {' or '.join(MODELS)}")
    if version not in ("", VERSION):
        raise InvalidInputError(
            f"model {name} has no version {version[:64]!r}; ask for {VERSION!r}, or for none"
        )
    return MODELS[name]
