"""Requests by hand: what our client would not send, or would not show."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest

from apsam_serve.errors import ApsamError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.trailers import error_of
from apsam_serve.v1 import segmentation_pb2 as pb

CLICK = pb.Prompt(points=[pb.Point(x=20, y=20)])
SEGMENT = pb.SessionRequest(segment=pb.SessionSegment(prompts=[CLICK]))
PROPOSE = pb.SessionRequest(propose=pb.SessionPropose())


def new_id() -> str:
    return str(uuid.uuid4())


def image_step(data: bytes) -> pb.SessionRequest:
    return pb.SessionRequest(image=pb.Image(file=data))


def create(stub: Any, data: bytes, **fields: Any) -> pb.CreateEmbeddingResponse:
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=data), **fields)
    reply: pb.CreateEmbeddingResponse = stub.CreateEmbedding(request, timeout=10)
    return reply


def handle(stub: Any, data: bytes) -> str:
    return create(stub, data).embedding.handle


def ask(stub: Any, handle: str) -> pb.SegmentResponse:
    request = pb.SegmentRequest(handle=handle, prompts=[CLICK])
    reply: pb.SegmentResponse = stub.Segment(request, timeout=10)
    return reply


def refused(method: Any, request: Any, **options: Any) -> ApsamError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=10, **options)
    return error_of(caught.value, "the server")


def steps(stub: Any, requests: Iterable[pb.SessionRequest]) -> list[pb.SessionResponse]:
    """All answers of a session."""
    return list(stub.Session(iter(requests), timeout=10))


def metrics(server: BackgroundServer) -> str:
    return generate_latest(server.server.metrics.registry).decode()


def num_held(server: BackgroundServer) -> int:
    return len(server.server.engine.store)
