"""Held images: looked at, renewed, deleted, by their owner alone; gone ones say why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.batcher import Limits
from apsam_serve.errors import HandleGoneError, MaskGoneError, OverloadedError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.calls import Context
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import CLICK, ask, create, handle, refused

Serve = Callable[..., BackgroundServer]
Connect = Callable[[BackgroundServer], Any]


def gone(stub: Any, handle: str) -> HandleGoneError:
    error = refused(stub.Segment, pb.SegmentRequest(handle=handle, prompts=[CLICK]))
    assert isinstance(error, HandleGoneError)
    return error


def by_metadata(context: Context) -> str:
    """Whoever the caller says to be."""
    return str(dict(context.invocation_metadata() or ()).get("who", "nobody"))


def test_an_unknown_handle_is_told_apart(stub: Any, running: BackgroundServer) -> None:
    handle = f"{running.server.engine.server_id}.never-made"
    error = gone(stub, handle)
    assert error.reason == "UNKNOWN"
    assert f"'{handle}' is unknown to this server; encode the image again" in str(error)


def test_a_handle_of_another_process_is_told_apart(stub: Any, bag_png: bytes) -> None:
    token = handle(stub, bag_png).split(".")[1]
    for foreign in (f"01234567.{token}", "x" * 1_000_000, "\u2603 \n"):
        assert gone(stub, foreign).reason == "OWNER_LOST"


def test_a_deleted_handle_is_told_apart_and_deleting_again_is_no_error(
    stub: Any, bag_png: bytes
) -> None:
    made = handle(stub, bag_png)
    request = pb.DeleteEmbeddingRequest(handle=made)
    assert stub.DeleteEmbedding(request).deleted
    assert not stub.DeleteEmbedding(request).deleted
    assert gone(stub, made).reason == "DELETED"


def test_a_held_image_is_shown_and_looking_does_not_count_as_use(stub: Any, bag_png: bytes) -> None:
    held = create(stub, bag_png, ttl=Duration(seconds=60)).embedding
    seen = stub.GetEmbedding(pb.GetEmbeddingRequest(handle=held.handle)).embedding
    assert seen.ttl == Duration(seconds=60)
    assert abs(seen.expire_time.ToNanoseconds() - held.expire_time.ToNanoseconds()) < 1e6
    life_s = (held.expire_time.ToNanoseconds() - held.create_time.ToNanoseconds()) / 1e9
    assert life_s == pytest.approx(60, abs=0.01)
    assert (seen.owner, seen.server_address) == ("anonymous", "")
    assert seen.handle.startswith(f"{seen.server_id}.")


def test_a_renewed_handle_lives_on(serve: Serve, connect: Connect, bag_png: bytes) -> None:
    stub = connect(serve(ttl_s=0.3, advertise="station-7.local:50051"))
    short, long = handle(stub, bag_png), handle(stub, bag_png)
    request = pb.RenewEmbeddingRequest(handle=long, ttl=Duration(seconds=30))
    renewed = stub.RenewEmbedding(request).embedding
    assert (renewed.ttl.seconds, renewed.server_address) == (30, "station-7.local:50051")
    time.sleep(0.35)
    assert ask(stub, long).segmentations
    error = gone(stub, short)
    assert (error.reason, "expired; encode" in str(error)) == ("EXPIRED", True)


def test_an_image_belongs_to_who_created_it(
    serve: Serve, connect: Connect, bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apsam_serve.service.server.owner_of", by_metadata)
    stub = connect(serve())
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    held = stub.CreateEmbedding(request, metadata=[("who", "anna")]).embedding
    assert held.owner == "anna"
    for method, foreign in (
        (stub.GetEmbedding, pb.GetEmbeddingRequest(handle=held.handle)),
        (stub.RenewEmbedding, pb.RenewEmbeddingRequest(handle=held.handle)),
        (stub.Segment, pb.SegmentRequest(handle=held.handle, prompts=[CLICK])),
        (stub.Propose, pb.ProposeRequest(handle=held.handle)),
    ):
        assert refused(method, foreign, metadata=[("who", "bert")]).reason == "UNKNOWN"
    delete = pb.DeleteEmbeddingRequest(handle=held.handle)
    assert not stub.DeleteEmbedding(delete, metadata=[("who", "bert")]).deleted
    assert stub.DeleteEmbedding(delete, metadata=[("who", "anna")]).deleted


def test_an_expired_handle_is_encoded_again_by_the_client(serve: Serve, bag_png: bytes) -> None:
    with Client(serve(ttl_s=0.05).address) as client:
        encoded = client.encode(bag_png)
        time.sleep(0.1)
        assert encoded.segment([Prompt.click(20, 20)])[0].mask.any()


def test_an_evicted_handle_is_told_apart(
    serve: Serve, connect: Connect, stub: Any, bag: NDArray[np.uint8], bag_png: bytes
) -> None:
    size = create(stub, bag_png).embedding.held_bytes
    crowded = connect(serve(budget_bytes=2 * size))
    files = [cv2.imencode(".png", bag // (1 + number))[1].tobytes() for number in range(3)]
    first, *_ = [handle(crowded, data) for data in files]
    error = gone(crowded, first)
    assert error.reason == "EVICTED"
    assert "evicted to make room" in str(error)


def test_a_mask_is_refined_by_its_id_until_it_is_gone(
    serve: Serve, connect: Connect, bag_png: bytes
) -> None:
    stub = connect(serve(masks_per_image=2))
    made = handle(stub, bag_png)
    first = ask(stub, made).segmentations[0]
    refined = pb.Prompt(points=CLICK.points, mask_id=first.mask_id)
    request = pb.SegmentRequest(
        handle=made,
        prompts=[refined],
        strategy=pb.STRATEGY_DIRECT,
        mask_encoding=first.mask.encoding,
    )
    assert stub.Segment(request).segmentations[0].mask_id
    for _ in range(3):
        ask(stub, made)
    error = refused(stub.Segment, request)
    assert isinstance(error, MaskGoneError)
    assert ask(stub, made).segmentations


def test_a_full_server_says_when_to_come_back(
    serve: Serve, connect: Connect, bag_png: bytes
) -> None:
    stub = connect(serve(limits=Limits(max_pending_encodes=0)))
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    error = refused(stub.CreateEmbedding, request)
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s > 0
    with pytest.raises(grpc.RpcError) as raw:
        stub.CreateEmbedding(request)
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(raw.value).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() > 0
