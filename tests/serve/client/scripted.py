"""A real server on a real port that answers from a list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from apsam_serve.errors import ApsamError, OverloadedError
from apsam_serve.service.trailers import REASON_KEY, RETRY_KEY
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc


class ScriptedServicer(pb_grpc.SegmentationServiceServicer):
    """Each call, and each step of a session, takes the next of `outcomes`: a message to answer
    with, an error or a gRPC status without a reason to fail with, or seconds to sleep first."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self.requests: list[Any] = []

    def CreateEmbedding(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(request, context)

    def Segment(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(request, context)

    def Propose(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._answer(request, context)

    def GetServerInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.GetServerInfoResponse()

    def DeleteEmbedding(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.DeleteEmbeddingResponse(deleted=True)

    def Session(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            yield self._answer(request, context)

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, float):
            time.sleep(outcome)
            outcome = self.outcomes.pop(0)
        if isinstance(outcome, ApsamError):
            trailers = [(REASON_KEY, outcome.reason)]
            if isinstance(outcome, OverloadedError):
                trailers.append((RETRY_KEY, str(int(outcome.retry_after_s * 1000))))
            context.set_trailing_metadata(tuple(trailers))
            context.abort(grpc.StatusCode.UNKNOWN, str(outcome))
        if isinstance(outcome, grpc.StatusCode):
            context.abort(outcome, "without a reason")
        return outcome


@contextmanager
def scripted_server(
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[tuple[str, ScriptedServicer]]:
    """(HOST:PORT, what it answers and was asked)."""
    servicer = ScriptedServicer()
    server = grpc.server(ThreadPoolExecutor(4))
    pb_grpc.add_SegmentationServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    address = "127.0.0.1:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    try:
        yield f"127.0.0.1:{port}", servicer
    finally:
        server.stop(0).wait()
