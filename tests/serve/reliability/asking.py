"""Calls by hand, with what became of each."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

CODES: Mapping[str, frozenset[str]] = {
    "INVALID_ARGUMENT": frozenset(
        ("INVALID_IMAGE", "INVALID_PROMPT", "INVALID_INPUT", "REQUEST_ID_REUSED")
    ),
    "UNAUTHENTICATED": frozenset(("UNAUTHENTICATED",)),
    "PERMISSION_DENIED": frozenset(("PERMISSION_DENIED",)),
    "NOT_FOUND": frozenset(
        ("UNKNOWN", "EXPIRED", "EVICTED", "DELETED", "OWNER_LOST", "MODEL_CHANGED", "MASK_GONE")
    ),
    "RESOURCE_EXHAUSTED": frozenset(("OVERLOADED", "RATE_LIMITED", "OUT_OF_MEMORY")),
    "DEADLINE_EXCEEDED": frozenset(("DEADLINE_EXCEEDED",)),
    "UNAVAILABLE": frozenset(("NOT_SERVING", "AUDIT_FAILED")),
    "INTERNAL": frozenset(("MODEL_FAULT", "DEVICE_FAULT", "INTERNAL")),
}
"""The table at the top of the proto."""
INSIDES = re.compile(
    r'Traceback|File "|\.py\b|<class |<bound |<function | object at |\b0x[0-9a-fA-F]{5,}'
    r"|(?<![\w.])/(?:[\w.-]+/)+[\w.-]+|\b[A-Z]\w*(?:Error|Exception|Warning)\b"
    r"|\b(?:apsam_serve|numpy|cv2|onnxruntime|asyncio|google\.protobuf)\b"
)
"""What no caller may read: source, addresses, files, classes, libraries. Two digits after 0x name a
JPEG marker."""
MESSAGE_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """code: name of the status; reason, retry_s: of its details; seconds: from sending on."""

    code: str
    reason: str = ""
    message: str = ""
    retry_s: float | None = None
    seconds: float = 0.0
    reply: Any = None

    @property
    def label(self) -> str:
        """`RESOURCE_EXHAUSTED/OVERLOADED`, or the code alone."""
        return f"{self.code}/{self.reason}" if self.reason else self.code


def options() -> list[tuple[str, int]]:
    """Of a channel with a connection of its own, which never calls twice by itself."""
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", 2 * MESSAGE_BYTES),
    ]


def connect(address: str) -> tuple[grpc.Channel, Any]:
    """(channel, stub) that block."""
    channel = grpc.insecure_channel(address, options=options())
    return channel, pb_grpc.SegmentationServiceStub(channel)


def connect_aio(address: str) -> tuple[grpc.aio.Channel, Any]:
    """(channel, stub) with asyncio."""
    channel = grpc.aio.insecure_channel(address, options=options())
    return channel, pb_grpc.SegmentationServiceStub(channel)


def ask(method: Any, request: Any, *, timeout_s: float = 30.0) -> Outcome:
    """What a call comes to."""
    started = time.perf_counter()
    try:
        reply = method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return outcome_of(error, time.perf_counter() - started)
    return Outcome(code="OK", seconds=time.perf_counter() - started, reply=reply)


async def ask_aio(method: Any, request: Any, *, timeout_s: float = 30.0) -> Outcome:
    """The same with asyncio."""
    started = time.perf_counter()
    try:
        reply = await method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return outcome_of(error, time.perf_counter() - started)
    return Outcome(code="OK", seconds=time.perf_counter() - started, reply=reply)


def outcome_of(error: Any, seconds: float) -> Outcome:
    """Of a call that failed. Its details must agree with its trailers and its status."""
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    reason, retry_s = "", None
    if "grpc-status-details-bin" in trailers:
        status = Status.FromString(trailers["grpc-status-details-bin"])
        assert status.code == error.code().value[0], status
        for detail in status.details:
            info, retry = ErrorInfo(), RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
                assert info.domain == "apsam", info
            elif detail.Unpack(retry):
                retry_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    assert trailers.get("apsam-reason", "") == reason, (trailers, reason)
    return Outcome(
        code=error.code().name,
        reason=reason,
        message=error.details() or "",
        retry_s=retry_s,
        seconds=seconds,
    )


def check_declared(outcome: Outcome) -> None:
    """Raise AssertionError for a status or reason that the proto does not name, and for text about
    the server's inside."""
    assert not (found := INSIDES.search(outcome.message)), (found[0], outcome)
    if outcome.code != "OK":
        assert outcome.reason in CODES.get(outcome.code, ()), outcome


def click(handle: str, x: float = 20, y: float = 20, *, num: int = 1) -> pb.SegmentRequest:
    """A question that the device answers in one decode."""
    prompt = pb.Prompt(points=[pb.Point(x=x, y=y)])
    return pb.SegmentRequest(handle=handle, prompts=[prompt] * num, strategy=pb.STRATEGY_DIRECT)


def create(data: bytes) -> pb.CreateEmbeddingRequest:
    return pb.CreateEmbeddingRequest(image=pb.Image(file=data))


def hold(stub: Any, data: bytes) -> str:
    """The handle of an image that the server holds now."""
    return str(stub.CreateEmbedding(create(data), timeout=30).embedding.handle)
