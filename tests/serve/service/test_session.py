"""A station's stream: steps in order, faults that do not end it, nothing left behind."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from apsam_serve.engine.batcher import Kind
from apsam_serve.runtime.base import EncodedBatch
from apsam_serve.runtime.fake import FakeRunner
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import (
    CLICK,
    PROPOSE,
    SEGMENT,
    handle,
    image_step,
    metrics,
    num_held,
    steps,
)

Serve = Callable[..., BackgroundServer]
Connect = Callable[[BackgroundServer], Any]


class Station:
    """A stream whose steps are sent one at a time, and only when asked to."""

    def __init__(self, stub: Any) -> None:
        self._sent: queue.SimpleQueue[pb.SessionRequest | None] = queue.SimpleQueue()
        self.call = stub.Session(self._requests())

    def step(self, request: pb.SessionRequest) -> pb.SessionResponse:
        self._sent.put(request)
        answer: pb.SessionResponse = next(self.call)
        return answer

    def send(self, request: pb.SessionRequest) -> None:
        self._sent.put(request)

    def end(self) -> None:
        self._sent.put(None)
        assert list(self.call) == []

    def _requests(self) -> Iterator[pb.SessionRequest]:
        while (request := self._sent.get()) is not None:
            yield request


def until(fact: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 5
    while not fact() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return fact()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is not set, image encoders wait."""
    go, encode = threading.Event(), FakeRunner.encode

    def waiting(
        self: FakeRunner, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        assert go.wait(5)
        return encode(self, images, energy)

    monkeypatch.setattr(FakeRunner, "encode", waiting)
    go.set()
    return go


def test_steps_are_answered_in_order_with_their_numbers(
    stub: Any, bag: NDArray[np.uint8], bag_png: bytes
) -> None:
    darker = cv2.imencode(".png", bag // 2)[1].tobytes()
    answers = steps(stub, [image_step(bag_png), SEGMENT, image_step(darker), SEGMENT, PROPOSE])
    assert [answer.step for answer in answers] == [0, 1, 2, 3, 4]
    kinds = [answer.WhichOneof("answer") for answer in answers]
    assert kinds == ["embedding", "segmentations", "embedding", "segmentations", "proposals"]
    first, second = (answers[i].segmentations.segmentations[0] for i in (1, 3))
    assert first.score != second.score
    assert answers[4].proposals.proposals[0].attention == 1


def test_a_step_answers_what_a_call_answers(stub: Any, bag_png: bytes) -> None:
    request = pb.SegmentRequest(handle=handle(stub, bag_png), prompts=[CLICK])
    alone = stub.Segment(request).segmentations[0]
    within = steps(stub, [image_step(bag_png), SEGMENT])[1].segmentations.segmentations[0]
    assert within.mask == alone.mask
    assert (within.score, list(within.points)) == (alone.score, list(alone.points))


def test_a_click_refines_the_mask_of_an_earlier_step(stub: Any, bag_png: bytes) -> None:
    station = Station(stub)
    station.step(image_step(bag_png))
    found = station.step(SEGMENT).segmentations.segmentations[0]
    again = pb.Prompt(points=CLICK.points, mask_id=found.mask_id)
    refining = pb.SessionSegment(prompts=[again], strategy=pb.STRATEGY_DIRECT)
    refined = station.step(pb.SessionRequest(segment=refining))
    assert refined.segmentations.segmentations[0].branch == pb.BRANCH_DIRECT
    station.step(image_step(bag_png))
    gone = station.step(pb.SessionRequest(segment=refining)).fault
    station.end()
    assert (gone.reason, gone.code) == ("MASK_GONE", grpc.StatusCode.NOT_FOUND.value[0])


@pytest.mark.parametrize(
    ("request_", "code", "reason", "message"),
    [
        (pb.SessionRequest(), 3, "INVALID_INPUT", "request has no step; give one of image"),
        (image_step(b"no image"), 3, "INVALID_IMAGE", "PNG, JPEG or TIFF"),
        (
            pb.SessionRequest(segment=pb.SessionSegment()),
            3,
            "INVALID_PROMPT",
            "call has 0 prompts; give 1 to 64",
        ),
        (
            pb.SessionRequest(propose=pb.SessionPropose(max_proposals=65)),
            3,
            "INVALID_INPUT",
            "max_proposals is 65",
        ),
        (
            pb.SessionRequest(propose=pb.SessionPropose(), timeout=Duration()),
            3,
            "INVALID_INPUT",
            "timeout of 0 s and 0 ns is no time",
        ),
    ],
)
def test_a_step_that_fails_is_answered_with_a_fault_and_the_stream_goes_on(
    stub: Any, bag_png: bytes, request_: pb.SessionRequest, code: int, reason: str, message: str
) -> None:
    _, failed, image, click = steps(
        stub, [image_step(bag_png), request_, image_step(bag_png), SEGMENT]
    )
    assert (failed.fault.code, failed.fault.reason) == (code, reason)
    assert message in failed.fault.message
    assert (failed.step, image.step) == (1, 2)
    assert click.WhichOneof("answer") == "segmentations"


def test_without_a_current_image_a_click_says_so(stub: Any, bag_png: bytes) -> None:
    first, _, lost, click = steps(stub, [SEGMENT, image_step(bag_png), image_step(b""), SEGMENT])
    assert "no current image" in first.fault.message
    assert lost.fault.reason == "INVALID_IMAGE"
    assert "no current image" in click.fault.message  # the image before it was not meant


def test_one_image_is_held_per_stream_and_none_after_it(
    serve: Serve, connect: Connect, bag_png: bytes
) -> None:
    server = serve()
    station = Station(connect(server))
    for _ in range(3):
        station.step(image_step(bag_png))
        assert num_held(server) == 1
    station.end()
    assert num_held(server) == 0


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("how", ["cancel", "channel", "deadline"])
def test_a_stream_that_breaks_leaves_no_image(
    serve: Serve, bag_png: bytes, tmp_path: Path, how: str, guarded: bool
) -> None:
    rules = tmp_path / "access.toml"
    rules.write_text('[default]\nmethods = ["Session"]\n')
    server = serve(access=rules if guarded else None)
    channel = grpc.insecure_channel(server.address)
    stub = channel.stream_stream(
        "/apsam_serve.v1.SegmentationService/Session",
        request_serializer=pb.SessionRequest.SerializeToString,
        response_deserializer=pb.SessionResponse.FromString,
    )
    sent: queue.SimpleQueue[pb.SessionRequest | None] = queue.SimpleQueue()
    sent.put(image_step(bag_png))
    call = stub(iter(sent.get, None), timeout=0.3 if how == "deadline" else None)
    assert next(call).HasField("embedding")
    assert num_held(server) == 1
    if how == "cancel":
        call.cancel()
    if how == "channel":
        channel.close()
    assert until(lambda: num_held(server) == 0)
    sent.put(None)
    channel.close()


def test_an_image_that_is_encoded_when_its_stream_has_gone_is_not_held(
    serve: Serve, connect: Connect, bag_png: bytes, slow: threading.Event
) -> None:
    server = serve()
    station = Station(connect(server))
    slow.clear()
    station.send(image_step(bag_png))
    assert until(lambda: server.server.engine.batcher.depth(Kind.ENCODE) == 1)
    time.sleep(0.05)  # until it runs
    station.call.cancel()
    time.sleep(0.05)
    assert server.server.calls.num_running == 1
    slow.set()
    assert until(lambda: server.server.calls.num_running == 0)
    station.send(SEGMENT)
    assert num_held(server) == 0
    assert server.server.engine.store.reserved_bytes == 0


def test_a_step_has_its_own_timeout_and_its_late_image_is_nobodys(
    serve: Serve, connect: Connect, bag_png: bytes, slow: threading.Event
) -> None:
    server = serve()
    station = Station(connect(server))
    slow.clear()
    hasty = pb.SessionRequest(image=pb.Image(file=bag_png), timeout=Duration(nanos=50_000_000))
    fault = station.step(hasty).fault
    assert (fault.code, fault.reason) == (4, "DEADLINE_EXCEEDED")
    assert "timeout of 0.05 s" in fault.message
    assert "no current image" in station.step(SEGMENT).fault.message
    slow.set()
    assert station.step(image_step(bag_png)).HasField("embedding")
    assert until(lambda: server.server.calls.num_running == 0)
    assert num_held(server) == 1
    assert station.step(SEGMENT).HasField("segmentations")
    station.end()


def test_the_current_image_does_not_expire_while_the_stream_is_open(
    serve: Serve, connect: Connect, bag_png: bytes
) -> None:
    station = Station(connect(serve(ttl_s=0.1, max_ttl_s=0.2)))
    station.step(image_step(bag_png))
    time.sleep(0.5)
    assert station.step(SEGMENT).HasField("segmentations")
    station.end()


def test_steps_on_a_draining_server_are_refused_by_name(
    serve: Serve, connect: Connect, bag_png: bytes
) -> None:
    server = serve()
    station = Station(connect(server))
    station.step(image_step(bag_png))
    draining = server.server.engine.drain(grace_s=0)
    asyncio.run_coroutine_threadsafe(draining, server._loop).result(5)
    fault = station.step(SEGMENT).fault
    station.end()
    assert (fault.code, fault.reason) == (14, "NOT_SERVING")
    assert "draining; use another one" in fault.message


def test_every_step_is_counted_by_its_kind(serve: Serve, connect: Connect, bag_png: bytes) -> None:
    server = serve()
    steps(connect(server), [image_step(bag_png), SEGMENT, image_step(b"")])
    text = metrics(server)
    for line in (
        'apsam_requests_total{code="OK",method="Session/image",reason=""} 1.0',
        'apsam_requests_total{code="OK",method="Session/segment",reason=""} 1.0',
        'apsam_requests_total{code="INVALID_ARGUMENT",method="Session/image",'
        'reason="INVALID_IMAGE"} 1.0',
        'apsam_requests_total{code="OK",method="Session",reason=""} 1.0',
    ):
        assert line in text
