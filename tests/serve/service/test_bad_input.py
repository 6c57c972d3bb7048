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
from google.protobuf.duration_pb2 import Duration
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
from tests.serve.service.asking import CLICK, refused

NAN = float("nan")
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
        ({"image": pb.Image(file=b""), "prompts": [CLICK]}, "0 bytes"),
        ({"image": pb.Image(), "prompts": [CLICK]}, "image has no form; give one of file, raw_rgb"),
        ({"handle": "x", "prompts": [CLICK], "request_id": "7"}, "request_id '7' is no UUID"),
    ],
)
def test_requests_that_no_client_of_ours_sends_are_refused_too(
    stub: Any, fields: dict[str, Any], message: str
) -> None:
    error = refused(stub.Segment, pb.SegmentRequest(**fields))
    assert isinstance(error, InvalidInputError)
    assert message in str(error)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_proposals": 65}, "max_proposals is 65; give 1 to 64"),
        ({"max_proposals": -1}, "max_proposals is -1"),
        ({"min_score": NAN}, "min_score is nan; give 0 to 1"),
        ({"max_overlap": 0.0}, "max_overlap is 0.0; give above 0, at most 1"),
        ({"strategy": 77}, "strategy 77 is unknown"),
    ],
)
def test_options_of_proposals_out_of_range_are_refused(
    stub: Any, fields: dict[str, Any], message: str
) -> None:
    error = refused(stub.Propose, pb.ProposeRequest(handle="x", **fields))
    assert isinstance(error, InvalidInputError)
    assert message in str(error)


@pytest.mark.parametrize(
    "ttl", [Duration(), Duration(seconds=-1), Duration(seconds=3601), Duration(nanos=2 * 10**9)]
)
def test_lives_that_are_none_or_too_long_are_refused(
    stub: Any, bag_png: bytes, ttl: Duration
) -> None:
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png), ttl=ttl)
    assert refused(stub.CreateEmbedding, request).reason == "INVALID_INPUT"
    assert "above 0" in str(refused(stub.RenewEmbedding, pb.RenewEmbeddingRequest(ttl=ttl)))


def test_a_reply_over_the_message_limit_is_refused_by_name(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
) -> None:
    stub = connect(serve(max_message_bytes=4000))
    request = pb.SegmentRequest(
        image=pb.Image(file=bag_png), prompts=[CLICK] * 64, mask_encoding=pb.MASK_ENCODING_PNG
    )
    error = refused(stub.Segment, request)
    assert isinstance(error, InvalidInputError)
    assert "the largest message is 4000; give fewer prompts" in str(error)
    assert not isinstance(error, InvalidPromptError)


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
        for method in ("CreateEmbedding", "Segment", "Propose", "RenewEmbedding"):
            call = channel.unary_unary(f"/{SERVICE}/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(raw, timeout=10)
            assert caught.value.code().name in {"INVALID_ARGUMENT", "NOT_FOUND"}
            assert "Error" not in caught.value.details()
        stream = channel.stream_stream(f"/{SERVICE}/Session")(iter([raw]), timeout=10)
        try:
            assert pb.SessionResponse.FromString(next(stream)).HasField("fault")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017
            assert "are no SessionRequest" in error.details()  # noqa: PT017


def test_an_error_carries_the_standard_details(stub: Any, bag_png: bytes) -> None:
    prompt = pb.Prompt(points=[pb.Point(x=500, y=1)])
    with pytest.raises(grpc.RpcError) as caught:
        stub.Segment(pb.SegmentRequest(image=pb.Image(file=bag_png), prompts=[prompt]))
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
