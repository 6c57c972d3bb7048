"""Images and what is held of them: protocol messages to values and back."""

from __future__ import annotations

from collections.abc import Mapping

from apsam_serve.contract.inputs import (
    Calibration,
    DetectorAxis,
    DualEnergyInput,
    FileInput,
    ImageInput,
    RgbInput,
)
from apsam_serve.engine.replies import Embedding
from apsam_serve.errors import InvalidImageError
from apsam_serve.service import convert
from apsam_serve.v1 import segmentation_pb2 as pb

AXES: Mapping[int, DetectorAxis] = {
    pb.DETECTOR_AXIS_UNSPECIFIED: "rows",
    pb.DETECTOR_AXIS_ROWS: "rows",
    pb.DETECTOR_AXIS_COLUMNS: "columns",
}
_MAX_ELEMENTS = 2**14


def image_from(message: pb.Image) -> ImageInput:
    """An image as sent; nothing is decoded yet. Raises InvalidImageError."""
    form = message.WhichOneof("form")
    if form == "file":
        return FileInput(data=message.file)
    if form == "raw_rgb":
        raw = message.raw_rgb
        return RgbInput(width=raw.width, height=raw.height, data=raw.data)
    if form == "dual_energy":
        return _dual_energy_from(message.dual_energy)
    raise InvalidImageError("image has no form; give one of file, raw_rgb and dual_energy")


def image_to(given: ImageInput) -> pb.Image:
    """An image as a message."""
    if isinstance(given, FileInput):
        return pb.Image(file=given.data)
    if isinstance(given, RgbInput):
        raw = pb.RawRgb(width=given.width, height=given.height, data=given.data)
        return pb.Image(raw_rgb=raw)
    columns = given.detector_axis == "columns"
    return pb.Image(
        dual_energy=pb.DualEnergy(
            width=given.width,
            height=given.height,
            high=given.high,
            low=given.low,
            high_calibration=_calibration_to(given.high_calibration),
            low_calibration=_calibration_to(given.low_calibration),
            detector_axis=pb.DETECTOR_AXIS_COLUMNS if columns else pb.DETECTOR_AXIS_ROWS,
            palette=given.palette,
        )
    )


def embedding_to(held: Embedding, *, server_id: str, server_address: str) -> pb.Embedding:
    """A held image as a message."""
    return pb.Embedding(
        handle=held.handle,
        width=held.width,
        height=held.height,
        create_time=convert.time_to(held.created_s),
        expire_time=convert.time_to(held.expires_s),
        ttl=convert.duration_to(held.ttl_s),
        held_bytes=held.held_bytes,
        owner=held.owner,
        server_address=server_address,
        server_id=server_id,
        model_digest=held.model_digest,
        image_digest=held.image_digest,
    )


def embedding_from(message: pb.Embedding) -> Embedding:
    """A held image as a value."""
    return Embedding(
        handle=message.handle,
        height=message.height,
        width=message.width,
        created_s=convert.time_from(message.create_time),
        expires_s=convert.time_from(message.expire_time),
        ttl_s=message.ttl.seconds + message.ttl.nanos / 1e9,
        held_bytes=message.held_bytes,
        owner=message.owner,
        model_digest=message.model_digest,
        image_digest=message.image_digest,
    )


def _dual_energy_from(message: pb.DualEnergy) -> DualEnergyInput:
    axis = AXES.get(message.detector_axis)
    if axis is None:
        raise InvalidImageError(
            f"detector_axis {message.detector_axis} is unknown; give one of {sorted(AXES)}"
        )
    num_elements = message.height if axis == "rows" else message.width
    return DualEnergyInput(
        width=message.width,
        height=message.height,
        high=message.high,
        low=message.low,
        high_calibration=_calibration_from(message.high_calibration, num_elements),
        low_calibration=_calibration_from(message.low_calibration, num_elements),
        detector_axis=axis,
        palette=message.palette,
    )


def _calibration_from(message: pb.Calibration, num_elements: int) -> Calibration:
    # Counted before they become Python numbers: a message has room for millions of them.
    for name, values in (("dark", message.dark), ("air", message.air)):
        if len(values) > max(1, min(num_elements, _MAX_ELEMENTS)):
            raise InvalidImageError(
                f"calibration has {len(values)} values of {name}; give one, or one for each of "
                f"the image's {num_elements} detector elements, at most {_MAX_ELEMENTS}"
            )
    return Calibration(dark=tuple(message.dark), air=tuple(message.air))


def _calibration_to(calibration: Calibration) -> pb.Calibration:
    return pb.Calibration(dark=calibration.dark, air=calibration.air)
