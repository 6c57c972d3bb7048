"""Bad input through the real client: a clear message each time, and the server goes on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import InvalidImageError, InvalidInputError, InvalidPromptError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.server import SERVICE
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

NAN = float("nan")
CLICK = pb.Prompt(points=[pb.Point(x=1, y=1)])
ON_NOTHING = pb.Prompt(points=[pb.Point(x=1, y=1, label=9)])  # type: ignore[arg-type]


def png_bomb() -> bytes:
    """20000 x 20000 black pixels in 400 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda png: b"", "0 bytes"),
        (lambda png: b"hello, this is text" * 10, "PNG, JPEG or TIFF"),
        (lambda png: png[: len(png) // 2], r"PNG.*send the whole file"),
        (lambda png: png[:20], r"PNG of 20 bytes has no complete IHDR.*send the whole file"),
    ],
    ids=["empty", "text", "half", "header only"],
)
def test_bytes_that_are_no_whole_image_are_refused(
    client: Client, bag_png: bytes, damage: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(InvalidImageError, match=message):
        client.encode(damage(bag_png))
    assert client.encode(bag_png).width == 80


def test_a_png_bomb_is_refused_by_its_header(client: Client) -> None:
    bomb = png_bomb()
    assert len(bomb) < 500_000
    with pytest.raises(InvalidImageError, match=r"20000 x 20000.*24") as caught:
        client.encode(bomb)
    assert caught.value.reason == "INVALID_IMAGE"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]; expected uint8"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]; expected uint8 \[H, W, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]; expected"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]; expected"),
    ],
)
def test_arrays_of_a_wrong_type_or_shape_are_refused(
    client: Client, array: NDArray[np.uint8], message: str
) -> None:
    with pytest.raises(InvalidImageError, match=message):
        client.encode(array)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "call has 0 prompts; give 1 to 64"),
        ([Prompt()], "0 points and no box"),
        ([Prompt.click(1, 1)] * 65, "call has 65 prompts"),
        ([Prompt(points=(Point(x=1, y=1),) * 10_000)], "10000 points; give at most 16"),
        ([Prompt.click(80, 5)], r"click \(80.0, 5.0\) lies outside the image of 80 x 60 pixels"),
        ([Prompt.click(-0.5, 5)], "lies outside"),
        ([Prompt.click(NAN, 5)], r"click \(nan, 5.0\) is not a number"),
        ([Prompt.click(5, float("inf"))], "is not a number"),
        ([Prompt(box=Box(left=9, top=9, right=9, bottom=20))], "box .* is empty or outside"),
        ([Prompt(box=Box(left=0, top=0, right=NAN, bottom=2))], "box .* is not a number"),
    ],
)
def test_prompts_that_do_not_fit_are_refused_for_handles_and_images_alike(
    client: Client, bag_png: bytes, prompts: list[Prompt], message: str
) -> None:
    with pytest.raises(InvalidPromptError, match=message):
        client.encode(bag_png).segment(prompts)
    with pytest.raises(InvalidPromptError, match=message):
        client.segment(bag_png, prompts)


def test_settings_of_apg_that_mean_nothing_are_refused(client: Client, bag_png: bytes) -> None:
    encoded = client.encode(bag_png)
    with pytest.raises(InvalidPromptError, match=r"apg\.tau is nan"):
        encoded.segment([Prompt.click(9, 9)], apg=ApgConfig(tau=NAN))
    with pytest.raises(InvalidPromptError, match="cannot be sent"):
        encoded.segment([Prompt.click(9, 9)], apg=ApgConfig(max_iterations=3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"handle": "x", "prompts": []}, "call has 0 prompts"),
        ({"handle": "x", "prompts": [ON_NOTHING]}, "label 9 is unknown; give one of"),
        ({"prompts": [CLICK]}, "request has no source; give a handle or an image"),
        ({"handle": "x", "prompts": [CLICK], "strategy": 77}, "strategy 77 is unknown"),
        ({"handle": "x", "prompts": [CLICK], "mask_encoding": 77}, "mask_encoding 77 is unknown"),
        ({"image": b"", "prompts": [CLICK]}, "0 bytes"),
    ],
)
def test_requests_that_no_client_of_ours_sends_are_refused_too(
    client: Client, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        client.call("Segment", pb.SegmentRequest(**fields))


def test_an_image_over_the_message_limit_is_refused_on_both_sides(
    client: Client, running: BackgroundServer, bag_png: bytes
) -> None:
    large = bytes(17 * 2**20)
    with pytest.raises(InvalidInputError, match=r"message is too large.*send a smaller image"):
        client.encode(large)
    with (
        Client(running.address, max_message_bytes=64 * 2**20) as careless,
        pytest.raises(InvalidInputError, match="message is too large"),
    ):
        careless.encode(large)
    assert client.encode(bag_png).width == 80


@given(raw=st.binary(max_size=200))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bytes_are_refused_without_a_word_of_the_internals(
    running: BackgroundServer, raw: bytes
) -> None:
    with grpc.insecure_channel(running.address) as channel:
        for method in ("Encode", "Segment"):
            call = channel.unary_unary(f"/{SERVICE}/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(raw, timeout=10)
            assert caught.value.code().name in {"INVALID_ARGUMENT", "NOT_FOUND"}
            assert "Error" not in caught.value.details()


def test_an_error_carries_the_standard_details(running: BackgroundServer, bag_png: bytes) -> None:
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        prompt = pb.Prompt(points=[pb.Point(x=500, y=1)])
        with pytest.raises(grpc.RpcError) as caught:
            stub.Segment(pb.SegmentRequest(image=bag_png, prompts=[prompt]))
    status = rpc_status.from_call(caught.value)
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(violations)
    assert (info.reason, info.domain) == ("INVALID_PROMPT", "apsam")
    assert violations.field_violations[0].field == "prompts"
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_jpeg_over_the_pixel_limit_is_refused(
    serve: Callable[..., BackgroundServer], bag: NDArray[np.uint8]
) -> None:
    jpeg = cv2.imencode(".jpg", bag)[1].tobytes()
    with (
        Client(serve(max_pixels=1000).address) as client,
        pytest.raises(InvalidImageError, match=r"80 x 60.*1,?000"),
    ):
        client.encode(jpeg)
