"""Trailing metadata that names an error, for clients without google.rpc; and the way back."""

from __future__ import annotations

from typing import Any

import grpc

from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    HandleGoneError,
    InvalidImageError,
    InvalidInputError,
    InvalidPromptError,
    NotServingError,
    OverloadedError,
)

REASON_KEY = "apsam-reason"
RETRY_KEY = "apsam-retry-after-ms"
GONE = ("UNKNOWN", "EXPIRED", "EVICTED", "RELEASED")
_CLASSES: tuple[type[ApsamError], ...] = (
    InvalidInputError,
    InvalidImageError,
    InvalidPromptError,
    DeadlineExceededError,
    NotServingError,
)


def error_of(call: grpc.RpcError, server: str) -> ApsamError:
    """The package's own error for a failed call to `server`."""
    code, message = call.code(), call.details() or ""
    trailing: Any = call.trailing_metadata() or ()  # pairs of (key, value)
    trailers = dict(trailing)
    reason = trailers.get(REASON_KEY, "")
    if reason in GONE:
        return HandleGoneError(message, reason=reason)
    if reason == OverloadedError.reason:
        return OverloadedError(message, retry_after_s=int(trailers.get(RETRY_KEY, 0)) / 1000)
    for kind in _CLASSES:
        if kind.reason == reason:
            return kind(message)
    return _unnamed(code, message, server)


def _unnamed(code: grpc.StatusCode, message: str, server: str) -> ApsamError:
    """gRPC's own failures, which carry no reason."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return NotServingError(f"no server answers at {server} ({message}); is apsam-serve there?")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{server} did not answer in time ({message})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return InvalidInputError(f"message is too large ({message}); send a smaller image file")
    return ApsamError(f"{server} answered {code.name}: {message}")
