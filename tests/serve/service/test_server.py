"""The server as others see it: answers, standard services, metrics, faults."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray
from prometheus_client import generate_latest

from apsam_serve.client import Client, open_server
from apsam_serve.config import ServeConfig
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    DeadlineExceededError,
    NotServingError,
)
from apsam_serve.local import open_bundle
from apsam_serve.runtime.base import EncodedBatch, RunnerOptions
from apsam_serve.runtime.fake import FakeRunner
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.server import SERVICE
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

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
    [pb.MASK_ENCODING_COCO_RLE, pb.MASK_ENCODING_PACKED_BITS_ZLIB, pb.MASK_ENCODING_PNG],
)
def test_every_mask_encoding_carries_the_same_mask(
    client: Client, bag_png: bytes, encoding: pb.MaskEncoding
) -> None:
    (default,) = client.segment(bag_png, PROMPTS[:1])
    (answer,) = client.segment(bag_png, PROMPTS[:1], mask_encoding=encoding)
    assert default.mask.any()
    assert np.array_equal(answer.mask, default.mask)


def test_a_reply_tells_size_expiry_model_and_time(
    client: Client, running: BackgroundServer, bag_png: bytes
) -> None:
    encoded = client.call("Encode", pb.EncodeRequest(image=bag_png))
    assert (encoded.width, encoded.height) == (80, 60)
    assert encoded.held_bytes > 0
    assert encoded.model_digest == running.server.digest
    assert encoded.timings.encode_us > 0
    prompt = pb.Prompt(points=[pb.Point(x=20, y=20)])
    request = pb.SegmentRequest(handle=encoded.handle, prompts=[prompt])
    answer = client.call("Segment", request)
    assert answer.expire_time.seconds >= encoded.expire_time.seconds
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


def test_a_reply_of_a_bundle_without_names_has_no_category(client: Client, bag_png: bytes) -> None:
    request = pb.SegmentRequest(image=bag_png, prompts=[pb.Prompt(points=[pb.Point(x=20, y=20)])])
    (message,) = client.call("Segment", request).segmentations
    assert (message.category, message.HasField("category_probability")) == ("", False)
    (answer,) = client.segment(bag_png, PROMPTS[:1])
    assert (answer.category, answer.category_probability) == (None, None)


def test_a_mask_damaged_on_the_way_is_noticed(client: Client, bag_png: bytes) -> None:
    from apsam_serve.service.convert import mask_from

    request = pb.SegmentRequest(image=bag_png, prompts=[pb.Prompt(points=[pb.Point(x=20, y=20)])])
    mask = client.call("Segment", request).segmentations[0].mask
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
    text = generate_latest(running.server.metrics.registry).decode()
    for line in (
        'apsam_requests_total{code="OK",method="Segment",reason=""}',
        'apsam_requests_total{code="INVALID_ARGUMENT",method="Encode",reason="INVALID_IMAGE"}',
        'apsam_request_seconds_count{method="Encode"}',
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

    def broken(self: FakeRunner, images: NDArray[np.uint8]) -> None:
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


def test_a_call_that_takes_too_long_ends_at_its_deadline(
    serve: Callable[..., BackgroundServer], bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve()
    encode = FakeRunner.encode

    def slow(self: FakeRunner, images: NDArray[np.uint8]) -> EncodedBatch:
        time.sleep(0.4)
        return encode(self, images)

    monkeypatch.setattr(FakeRunner, "encode", slow)
    with (
        Client(running.address, timeout_s=0.1) as hasty,
        pytest.raises(DeadlineExceededError, match="did not answer in time"),
    ):
        hasty.encode(bag_png)
    with Client(running.address) as patient:
        assert patient.encode(bag_png).width == 80
    text = generate_latest(running.server.metrics.registry).decode()
    assert 'apsam_requests_total{code="CANCELLED",method="Encode",reason=""} 1.0' in text
    assert 'apsam_store_bytes{state="reserved"} 0.0' in text
    assert "apsam_store_entries 1.0" in text


def test_a_hundred_cancelled_calls_leave_nothing_behind(
    serve: Callable[..., BackgroundServer], bag_png: bytes
) -> None:
    running = serve()
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        prompt = pb.Prompt(points=[pb.Point(x=20, y=20)])
        for number in range(100):
            call = stub.Segment.future(pb.SegmentRequest(image=bag_png, prompts=[prompt]))
            time.sleep(number % 5 / 1000)
            call.cancel()
        handle = stub.Encode(pb.EncodeRequest(image=bag_png)).handle
        answer = stub.Segment(pb.SegmentRequest(handle=handle, prompts=[prompt]))
    assert answer.segmentations[0].mask.data
    text = generate_latest(running.server.metrics.registry).decode()
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
