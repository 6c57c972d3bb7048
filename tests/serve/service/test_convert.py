"""Messages to values and back."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from apsam_serve.contract.inputs import (
    Calibration,
    DualEnergyInput,
    FileInput,
    ImageInput,
    RgbInput,
)
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.engine.replies import Embedding
from apsam_serve.errors import InvalidImageError, InvalidInputError
from apsam_serve.service import convert, convert_images
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import CLICK, handle

DUAL = DualEnergyInput(
    width=2,
    height=3,
    high=bytes(12),
    low=bytes(range(12)),
    high_calibration=Calibration(dark=(1,), air=(7, 8)),
    low_calibration=Calibration(),
    detector_axis="columns",
    palette="sixray",
)


@pytest.mark.parametrize(
    "given", [FileInput(data=b"png"), RgbInput(width=1, height=1, data=b"rgb"), DUAL]
)
def test_an_image_survives_the_way(given: ImageInput) -> None:
    sent = pb.Image.FromString(convert_images.image_to(given).SerializeToString())
    assert convert_images.image_from(sent) == given


def test_the_detectors_axis_is_rows_unless_said() -> None:
    given = convert_images.image_from(pb.Image(dual_energy=pb.DualEnergy(width=1, height=1)))
    assert isinstance(given, DualEnergyInput)
    assert (given.detector_axis, given.palette) == ("rows", "")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (pb.Image(), "image has no form; give one of file, raw_rgb and dual_energy"),
        (
            pb.Image(dual_energy=pb.DualEnergy(detector_axis=9)),  # type: ignore[arg-type]
            "detector_axis 9 is unknown; give one of \\[0, 1, 2\\]",
        ),
        (
            pb.Image(
                dual_energy=pb.DualEnergy(
                    height=2, width=9, high_calibration=pb.Calibration(dark=[0] * 3)
                )
            ),
            "calibration has 3 values of dark; give one, or one for each of the image's 2 detector",
        ),
        (
            pb.Image(
                dual_energy=pb.DualEnergy(
                    height=10**9, low_calibration=pb.Calibration(air=[1] * 70_000)
                )
            ),
            "calibration has 70000 values of air; .* at most 16384",
        ),
    ],
)
def test_images_that_mean_nothing_are_refused_before_they_cost_anything(
    message: pb.Image, text: str
) -> None:
    with pytest.raises(InvalidImageError, match=text):
        convert_images.image_from(message)


def test_a_held_image_survives_the_way() -> None:
    held = Embedding(
        handle="0123abcd.x",
        height=3,
        width=2,
        created_s=1_700_000_000.25,
        expires_s=1_700_000_060.5,
        ttl_s=60.25,
        held_bytes=2**40,
        owner="station-7",
        model_digest="a" * 64,
        image_digest="b" * 64,
    )
    message = convert_images.embedding_to(held, server_id="0123abcd", server_address="s7:50051")
    assert (message.server_id, message.server_address) == ("0123abcd", "s7:50051")
    assert convert_images.embedding_from(message) == held


def test_prompts_survive_the_way() -> None:
    prompts = [
        Prompt(points=(Point(x=1.5, y=2), Point(x=3, y=4, positive=False)), mask_id="7"),
        Prompt(box=Box(left=1, top=2, right=3, bottom=4)),
    ]
    assert convert.prompts_from(convert.prompts_to(prompts)) == prompts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("6f7ff4a4-54a5-4ec3-8a52-0f9a6c1f3a1e", "6f7ff4a4-54a5-4ec3-8a52-0f9a6c1f3a1e"),
        ("6F7FF4A454A54EC38A520F9A6C1F3A1E", "6f7ff4a4-54a5-4ec3-8a52-0f9a6c1f3a1e"),
    ],
)
def test_a_request_id_is_a_uuid_or_nothing(text: str, expected: str) -> None:
    assert convert.request_id_from(text) == expected


@pytest.mark.parametrize("text", ["7", "x" * 1_000_000, "6f7ff4a4-54a5-4ec3-8a52", "\n"])
def test_other_request_ids_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no UUID; give a new UUID per request") as told:
        convert.request_id_from(text)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("seconds", [1e-9, 0.5, 3600.25])
def test_a_duration_survives_the_way(seconds: float) -> None:
    assert convert.seconds_from("ttl", convert.duration_to(seconds)) == seconds


@pytest.mark.parametrize(
    "message",
    [
        Duration(),
        Duration(seconds=-1),
        Duration(nanos=-1),
        Duration(seconds=1, nanos=2 * 10**9),
        Duration(seconds=2**62),
    ],
)
def test_a_duration_that_is_no_time_is_refused(message: Duration) -> None:
    with pytest.raises(InvalidInputError, match=r"ttl of .* is no time; give one above 0"):
        convert.seconds_from("ttl", message)


@pytest.mark.parametrize(
    ("encoding", "num_prompts", "thread"),
    [
        (pb.MASK_ENCODING_COCO_RLE, 1, b"apsam-serve"),
        (pb.MASK_ENCODING_COCO_RLE, 2, b"apsam-masks"),
        (pb.MASK_ENCODING_POLYGON, 1, b"apsam-masks"),
    ],
)
def test_only_a_lone_mask_that_is_packed_fast_is_packed_on_the_event_loop(
    stub: Any,
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    encoding: pb.MaskEncoding,
    num_prompts: int,
    thread: bytes,
) -> None:
    monkeypatch.setitem(
        convert.PACKERS,
        encoding,
        lambda mask: threading.current_thread().name.encode(),
    )
    request = pb.SegmentRequest(
        handle=handle(stub, bag_png), prompts=[CLICK] * num_prompts, mask_encoding=encoding
    )
    answer = stub.Segment(request, timeout=10)
    assert all(one.mask.data.startswith(thread) for one in answer.segmentations)
