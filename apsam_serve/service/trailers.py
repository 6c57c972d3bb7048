"""Trailing metadata that names an error, for clients without google.rpc; and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from apsam_serve.errors import (
    ApsamError,
    AuditFailedError,
    DeadlineExceededError,
    DeviceFaultError,
    HandleGoneError,
    InvalidImageError,
    InvalidInputError,
    InvalidPromptError,
    MaskGoneError,
    ModelFaultError,
    NotServingError,
    OutOfMemoryError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
    RequestIdReusedError,
    UnauthenticatedError,
)

REASON_KEY = "apsam-reason"
RETRY_KEY = "apsam-retry-after-ms"
GONE = ("UNKNOWN", "EXPIRED", "EVICTED", "DELETED", "OWNER_LOST", "MODEL_CHANGED")
_RETRIED = {kind.reason: kind for kind in (OverloadedError, RateLimitedError, OutOfMemoryError)}
_CLASSES: Mapping[str, type[ApsamError]] = {
    kind.reason: kind
    for kind in (
        *(InvalidInputError, InvalidImageError, InvalidPromptError, RequestIdReusedError),
        *(UnauthenticatedError, PermissionDeniedError, DeadlineExceededError),
        *(NotServingError, AuditFailedError, ModelFaultError, DeviceFaultError),
    )
}


def error_of(call: grpc.RpcError, server: str) -> ApsamError:
    """The package's own error for a failed call to `server`."""
    code, message = call.code(), call.details() or ""
    trailing: Any = call.trailing_metadata() or ()  # pairs of (key, value)
    # asyncio's metadata is no list of pairs, but makes one.
    trailers = {key: value for key, value in trailing}
    retry_after_s = int(trailers.get(RETRY_KEY, 0)) / 1000
    named = error_named(trailers.get(REASON_KEY, ""), message, retry_after_s=retry_after_s)
    return named or _unnamed(code, message, server)


def error_named(reason: str, message: str, *, retry_after_s: float = 0.0) -> ApsamError | None:
    """The error with that reason, from trailers or a session's fault; None where this release knows
    none."""
    if reason in GONE:
        return HandleGoneError(message, reason=reason)
    if reason == "MASK_GONE":
        return MaskGoneError(message)
    if reason in _RETRIED:
        return _RETRIED[reason](message, retry_after_s=retry_after_s)
    if reason in _CLASSES:
        return _CLASSES[reason](message)
    return None


def _unnamed(code: grpc.StatusCode, message: str, server: str) -> ApsamError:
    """gRPC's own failures, which carry no reason."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return NotServingError(f"no server answers at {server} ({message}); is apsam-serve there?")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{server} did not answer in time ({message})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return InvalidInputError(f"message is too large ({message}); send a smaller image file")
    return ApsamError(f"{server} answered {code.name}: {message}")
