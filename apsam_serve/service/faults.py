"""What callers are told of an error, on a call of its own and within a session alike."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

import grpc

from apsam_serve.errors import (
    ApsamError,
    AuditFailedError,
    DeadlineExceededError,
    DeviceFaultError,
    HandleGoneError,
    InvalidInputError,
    ModelFaultError,
    NotServingError,
    OverloadedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

_MAX_MESSAGE = 500  # characters; trailers of all calls share 8 KiB, and escapes triple a character
_CODES: tuple[tuple[type[ApsamError], grpc.StatusCode], ...] = (
    (InvalidInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (PermissionDeniedError, grpc.StatusCode.PERMISSION_DENIED),
    (HandleGoneError, grpc.StatusCode.NOT_FOUND),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (NotServingError, grpc.StatusCode.UNAVAILABLE),
)
_UNTOLD: tuple[tuple[type[ApsamError], grpc.StatusCode], ...] = (
    (AuditFailedError, grpc.StatusCode.UNAVAILABLE),
    (ModelFaultError, grpc.StatusCode.INTERNAL),
    (DeviceFaultError, grpc.StatusCode.INTERNAL),
)
"""Callers learn the reason; the text, which is about the server's inside, is for its log."""
_log = logging.getLogger("apsam_serve.service")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An error as callers see it. retry_after_s: None where trying again would not help."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after_s: float | None = None


def fault_of(error: Exception) -> Fault:
    """What callers are told. What they are not told is logged under an incident number."""
    for kind, code in _UNTOLD:
        if isinstance(error, kind):
            return _incident(error, code, error.reason)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Fault(
                code=code,
                reason=error.reason,
                message=str(error)[:_MAX_MESSAGE],
                retry_after_s=error.retry_after_s if isinstance(error, OverloadedError) else None,
            )
    return _incident(error, grpc.StatusCode.INTERNAL, ApsamError.reason)


def _incident(error: Exception, code: grpc.StatusCode, reason: str) -> Fault:
    number = uuid.uuid4().hex[:12]
    _log.error("incident %s", number, exc_info=error)
    message = f"the server failed; its log names the cause under incident {number}"
    return Fault(code=code, reason=reason, message=message)
