"""The server as others see it: answers, standard services, metrics, faults."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray

from apsam_serve.client import Client, open_server
from apsam_serve.config import MAX_MESSAGE_BYTES, ServeConfig
from apsam_serve.contract.inputs import palettes
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    NotServingError,
)
from apsam_serve.local import open_bundle
from apsam_serve.runtime.base import EncodedBatch, RunnerOptions
from apsam_serve.runtime.fake import FakeRunner
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.convert import mask_from
from apsam_serve.service.server import SERVICE
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import CLICK, ask, create, handle, metrics, refused

PROMPTS = [
    Prompt.click(20, 20),
    Prompt(points=(Point(x=58, y=38), Point(x=50, y=38, positive=False))),
    Prompt(box=Box(left=10, top=10, right=40, bottom=40)),
    Prompt.click(75, 5),
]


@pytest.mark.parametrize("backend", ["fake", "onnxruntime"])
@pytest.mark.parametrize("strategy", ["direct", "apg"])
def test_the_server_answers_what_the_bundle_answers_in_process(
    serve: Callable[..., BackgroundServer],
    tiny_bundle: Path,
    bag: NDArray[np.uint8],
    backend: str,
    strategy: str,
) -> None:
    segmenter = open_server(serve(backend=backend).address)
    remote = segmenter.encode(bag).segment(PROMPTS, strategy=strategy)  # type: ignore[arg-type]
    image = open_bundle(tiny_bundle, backend=backend, options=RunnerOptions(threads=1)).encode(bag)
    local = image.segment(PROMPTS, strategy=strategy)  # type: ignore[arg-type]
    for ours, theirs in zip(remote, local, strict=True):
        assert np.array_equal(ours.mask, theirs.mask)
        assert ours.score == pytest.approx(theirs.score)
        assert (ours.points, ours.branch) == (theirs.points, theirs.branch)
    segmenter.close()


@pytest.mark.parametrize(
    "encoding",
    [
        pb.MASK_ENCODING_COCO_RLE,
        pb.MASK_ENCODING_PACKED_BITS_ZLIB,
        pb.MASK_ENCODING_PNG,
        pb.MASK_ENCODING_POLYGON,  # exact too, where there are no holes
    ],
)
def test_every_mask_encoding_carries_the_same_mask(
    client: Client, bag_png: bytes, encoding: pb.MaskEncoding
) -> None:
    (default,) = client.segment(bag_png, PROMPTS[:1])
    (answer,) = client.segment(bag_png, PROMPTS[:1], mask_encoding=encoding)
    assert default.mask.any()
    assert np.array_equal(answer.mask, default.mask)


def test_a_reply_tells_size_expiry_model_and_time(
    stub: Any, running: BackgroundServer, bag_png: bytes
) -> None:
    created = create(stub, bag_png)
    held = created.embedding
    assert (held.width, held.height) == (80, 60)
    assert held.held_bytes > 0
    assert held.model_digest == running.server.digest
    assert held.image_digest == hashlib.sha256(bag_png).hexdigest()
    assert created.timings.encode_us > 0
    assert created.timings.energy_us > 0
    answer = ask(stub, held.handle)
    assert answer.expire_time.seconds >= held.expire_time.seconds
    assert answer.model_digest == running.server.digest
    assert (answer.width, answer.height) == (80, 60)
    assert answer.timings.decode_1_us > 0
    assert answer.timings.decode_2_us > 0
    assert answer.segmentations[0].branch == pb.BRANCH_CLUSTERS
    assert len(answer.segmentations[0].points) == 2


@pytest.mark.parametrize("backend", ["fake", "onnxruntime"])
def test_a_reply_names_the_category_where_the_bundle_has_names(
    serve: Callable[..., BackgroundServer],
    named_bundle: Path,
    bag: NDArray[np.uint8],
    backend: str,
) -> None:
    with Client(serve(bundle=named_bundle, backend=backend).address) as client:
        remote = client.encode(bag).segment(PROMPTS)
    local = (
        open_bundle(named_bundle, backend=backend, options=RunnerOptions(threads=1))
        .encode(bag)
        .segment(PROMPTS)
    )
    assert [one.category for one in remote] == [one.category for one in local]
    assert any(one.category for one in remote)
    for ours, theirs in zip(remote, local, strict=True):
        assert ours.category_probability == pytest.approx(theirs.category_probability)


def test_a_reply_of_a_bundle_without_names_has_no_category(
    stub: Any, client: Client, bag_png: bytes
) -> None:
    (message,) = ask(stub, handle(stub, bag_png)).segmentations
    assert (message.category, message.HasField("category_probability")) == ("", False)
    (answer,) = client.segment(bag_png, PROMPTS[:1])
    assert (answer.category, answer.category_probability) == (None, None)


def test_the_server_says_what_it_runs_within_which_limits(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    named_bundle: Path,
) -> None:
    server = serve(
        bundle=named_bundle,
        advertise="station-7.local:50051",
        max_pixels=1000,
        max_ttl_s=900.5,
        masks_per_image=3,
    )
    info = connect(server).GetServerInfo(pb.GetServerInfoRequest())
    (model,) = info.models
    assert (model.digest, model.preset, model.form) == (server.server.digest, "tiny", "onnx")
    assert (model.precision, model.verified, model.current) == ("fp32", True, True)
    assert list(model.categories) == ["Gun", "Bullet", "Laptop"]
    assert info.version == version("apsam")
    assert (len(info.server_id), info.server_address) == (8, "station-7.local:50051")
    assert tuple(info.palettes) == palettes()
    assert (info.max_pixels, info.max_message_bytes) == (1000, MAX_MESSAGE_BYTES)
    assert (info.max_prompts, info.max_points, info.masks_per_image) == (64, 16, 3)
    assert info.max_ttl.ToMilliseconds() == 900_500


def test_pixels_answer_what_their_file_answers(
    stub: Any, bag: NDArray[np.uint8], bag_png: bytes
) -> None:
    raw = pb.RawRgb(width=80, height=60, data=bag.tobytes())
    by_file, by_pixels = (
        stub.Segment(pb.SegmentRequest(image=image, prompts=[CLICK]))
        for image in (pb.Image(file=bag_png), pb.Image(raw_rgb=raw))
    )
    assert by_pixels.segmentations == by_file.segmentations
    assert not by_pixels.segmentations[0].mask_id
    assert not by_pixels.HasField("expire_time")


def test_a_scanners_own_pair_is_answered_in_every_palette(stub: Any) -> None:
    high, low = np.full((60, 80), 60_000, "<u2"), np.full((60, 80), 60_000, "<u2")
    high[10:40, 10:40], low[10:40, 10:40] = 20_000, 9_000
    air = pb.Calibration(dark=[100], air=[60_000] * 60)
    for palette in palettes():
        pair = pb.DualEnergy(
            width=80,
            height=60,
            high=high.tobytes(),
            low=low.tobytes(),
            high_calibration=air,
            palette=palette,
        )
        request = pb.SegmentRequest(image=pb.Image(dual_energy=pair), prompts=[CLICK])
        assert stub.Segment(request).segmentations[0].branch == pb.BRANCH_CLUSTERS
    pair.palette = "sepia"
    request = pb.CreateEmbeddingRequest(image=pb.Image(dual_energy=pair))
    assert refused(stub.CreateEmbedding, request).reason == "INVALID_IMAGE"


def test_objects_are_proposed_for_held_images_and_for_those_sent_along(
    stub: Any, bag_png: bytes
) -> None:
    held = stub.Propose(pb.ProposeRequest(handle=handle(stub, bag_png)))
    along = stub.Propose(pb.ProposeRequest(image=pb.Image(file=bag_png)))
    assert held.proposals == along.proposals
    assert (held.HasField("expire_time"), along.HasField("expire_time")) == (True, False)
    first = held.proposals[0]
    assert (first.attention, first.click.label) == (1, pb.POINT_LABEL_POSITIVE)
    assert mask_from(first.segmentation.mask).any()
    (one,) = stub.Propose(
        pb.ProposeRequest(
            image=pb.Image(file=bag_png), max_proposals=1, strategy=pb.STRATEGY_DIRECT
        )
    ).proposals
    assert one.segmentation.branch == pb.BRANCH_DIRECT
    picky = pb.ProposeRequest(image=pb.Image(file=bag_png), min_score=1, include_attention=True)
    nothing = stub.Propose(picky)
    assert not nothing.proposals
    assert not held.HasField("attention")
    seen = nothing.attention
    assert (seen.height, seen.width, seen.cell_height, seen.cell_width) == (6, 8, 10, 10)
    values = np.frombuffer(seen.data, "<f4").reshape(seen.height, seen.width)
    row, column = int(first.click.y / seen.cell_height), int(first.click.x / seen.cell_width)
    assert values[row, column] == values.max()


def test_a_mask_damaged_on_the_way_is_noticed(stub: Any, bag_png: bytes) -> None:
    mask = ask(stub, handle(stub, bag_png)).segmentations[0].mask
    mask.data = mask.data[:-1] + b"?"
    with pytest.raises(ApsamError, match="another CRC-32"):
        mask_from(mask)


def test_health_is_told_over_the_standard_protocol(
    client: Client, running: BackgroundServer
) -> None:
    assert client.is_serving()
    with grpc.insecure_channel(running.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=name)
            assert check(request).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_service_and_its_messages(running: BackgroundServer) -> None:
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    with grpc.insecure_channel(running.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        services, files = list(stub.ServerReflectionInfo(iter(requests)))
    names = {service.name for service in services.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    proto = descriptor_pb2.FileDescriptorProto.FromString(
        files.file_descriptor_response.file_descriptor_proto[0]
    )
    assert proto.package == "apsam_serve.v1"


def test_metrics_count_calls_stages_and_the_store(
    client: Client, running: BackgroundServer, bag_png: bytes
) -> None:
    client.encode(bag_png).segment(PROMPTS[:1])
    with pytest.raises(ApsamError):
        client.encode(b"no image")
    text = metrics(running)
    for line in (
        'apsam_requests_total{code="OK",method="Segment",reason=""}',
        'apsam_requests_total{code="INVALID_ARGUMENT",method="CreateEmbedding",reason="INVALID_IMAGE"}',
        'apsam_request_seconds_count{method="CreateEmbedding"}',
        'apsam_stage_seconds_count{stage="decode_2"}',
        'apsam_store_bytes{state="used"}',
        "apsam_store_entries",
        'apsam_store_events_total{event="hit"}',
        'apsam_queue_depth{class="click"} 0.0',
    ):
        assert line in text


def test_metrics_are_served_over_http_when_asked(serve: Callable[..., BackgroundServer]) -> None:
    url = f"http://127.0.0.1:{serve(metrics_port=0).server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert b"apsam_store_bytes" in answer.read()


def test_a_fault_inside_tells_clients_nothing_of_it(
    serve: Callable[..., BackgroundServer],
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = serve()

    def broken(self: FakeRunner, images: NDArray[np.uint8], energy: object = None) -> None:
        raise RuntimeError("cannot read /secret/model.key")

    monkeypatch.setattr(FakeRunner, "encode", broken)
    with Client(running.address) as client:
        with pytest.raises(ApsamError, match="the server failed; its log names the cause") as told:
            client.encode(bag_png)
        monkeypatch.undo()
        assert client.encode(bag_png).width == 80
    assert "secret" not in str(told.value)
    assert "INTERNAL" in str(told.value)
    assert "/secret/model.key" in caplog.text


def test_a_call_that_takes_too_long_ends_at_its_deadline_and_its_image_is_not_held(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = serve()
    stub = connect(running)
    encode = FakeRunner.encode

    def slow(
        self: FakeRunner, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        time.sleep(0.4)
        return encode(self, images, energy)

    monkeypatch.setattr(FakeRunner, "encode", slow)
    hasty = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    with pytest.raises(grpc.RpcError) as caught:
        stub.CreateEmbedding(hasty, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert create(stub, bag_png).embedding.width == 80
    text = metrics(running)
    assert 'apsam_requests_total{code="CANCELLED",method="CreateEmbedding",reason=""} 1.0' in text
    assert 'apsam_store_bytes{state="reserved"} 0.0' in text
    assert "apsam_store_entries 1.0" in text


def test_a_hundred_cancelled_calls_leave_nothing_behind(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
) -> None:
    running = serve()
    stub = connect(running)
    image = pb.Image(file=bag_png)
    for number in range(100):
        call = stub.Segment.future(pb.SegmentRequest(image=image, prompts=[CLICK]))
        time.sleep(number % 5 / 1000)
        call.cancel()
    assert ask(stub, handle(stub, bag_png)).segmentations[0].mask.data
    deadline_s = time.monotonic() + 5
    while running.server.calls.num_running and time.monotonic() < deadline_s:
        time.sleep(0.01)
    text = metrics(running)
    for line in (
        'apsam_store_bytes{state="reserved"} 0.0',
        "apsam_store_entries 1.0",
        'apsam_queue_depth{class="click"} 0.0',
        'apsam_queue_depth{class="encode"} 0.0',
    ):
        assert line in text


def test_a_taken_port_stops_the_start(
    running: BackgroundServer, config: ServeConfig, serve: Callable[..., BackgroundServer]
) -> None:
    with pytest.raises(NotServingError, match=r"cannot listen on .*give a free HOST:PORT"):
        serve(listen=running.address)


def test_a_changed_byte_or_an_unknown_back_end_stops_the_start(
    serve: Callable[..., BackgroundServer], fresh_bundle: Path
) -> None:
    with pytest.raises(BackendUnavailableError, match="back end 'tpu' is unknown"):
        serve(backend="tpu")
    file = fresh_bundle / "prompt_decoder.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(BundleError, match=r"prompt_decoder\.onnx is not the file"):
        serve(bundle=fresh_bundle)


def test_no_server_there_is_a_clear_error() -> None:
    with (
        Client("127.0.0.1:1", timeout_s=5) as client,
        pytest.raises(NotServingError, match=r"no server answers at 127\.0\.0\.1:1"),
    ):
        client.encode(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
