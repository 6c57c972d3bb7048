"""Handles that are gone say why, and the client encodes again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.batcher import Limits
from apsam_serve.engine.compute import encoded_bytes
from apsam_serve.errors import HandleGoneError, OverloadedError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

CLICK = pb.Prompt(points=[pb.Point(x=20, y=20)])


def gone(client: Client, handle: str) -> HandleGoneError:
    with pytest.raises(HandleGoneError) as caught:
        client.call("Segment", pb.SegmentRequest(handle=handle, prompts=[CLICK]))
    return caught.value


def test_an_unknown_handle_is_told_apart(client: Client) -> None:
    error = gone(client, "never-made")
    assert error.reason == "UNKNOWN"
    assert "'never-made' is unknown to this server; encode the image again" in str(error)
    assert gone(client, "x" * 1_000_000).reason == "UNKNOWN"
    assert gone(client, "\u2603 \n").reason == "UNKNOWN"


def test_a_released_handle_is_told_apart(client: Client, bag_png: bytes) -> None:
    encoded = client.encode(bag_png)
    encoded.release()
    encoded.release()
    assert gone(client, encoded.handle).reason == "RELEASED"
    with pytest.raises(HandleGoneError, match="released"):
        encoded.segment([Prompt.click(20, 20)])


def test_an_expired_handle_is_told_apart_and_encoded_again(
    serve: Callable[..., BackgroundServer], bag_png: bytes
) -> None:
    with Client(serve(ttl_s=0.05).address) as client:
        encoded = client.encode(bag_png)
        before = encoded.handle
        time.sleep(0.1)
        error = gone(client, before)
        assert (error.reason, "expired; encode" in str(error)) == ("EXPIRED", True)
        assert encoded.segment([Prompt.click(20, 20)])[0].mask.any()
        assert encoded.handle != before


def test_an_evicted_handle_is_told_apart_and_encoded_again(
    serve: Callable[..., BackgroundServer],
    bag: NDArray[np.uint8],
    model: ModelSpec,
) -> None:
    with Client(serve(budget_bytes=2 * encoded_bytes(model)).address) as client:
        images = [client.encode(bag // (1 + i)) for i in range(3)]
        first = images[0].handle
        error = gone(client, first)
        assert error.reason == "EVICTED"
        assert "evicted to make room" in str(error)
        masks = [image.segment([Prompt.click(20, 20)])[0].mask for image in images]
        assert images[0].handle != first
        assert not np.array_equal(masks[0], masks[2])


def test_a_full_server_says_when_to_come_back(
    serve: Callable[..., BackgroundServer], bag_png: bytes
) -> None:
    address = serve(limits=Limits(max_pending_encodes=0)).address
    with Client(address) as client, pytest.raises(OverloadedError, match="retry after") as caught:
        client.encode(bag_png)
    assert caught.value.retry_after_s > 0
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as raw:
            stub.Encode(pb.EncodeRequest(image=bag_png))
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(raw.value).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() > 0
