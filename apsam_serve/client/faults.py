"""Why a call or a step of a session failed, and how a stream ends."""

from __future__ import annotations

import grpc

from apsam_serve.errors import ApsamError, DeadlineExceededError, NotServingError
from apsam_serve.service.trailers import error_named, error_of
from apsam_serve.v1 import segmentation_pb2 as pb

LATE_S = 1.0
"""How much longer than its own timeout a step is waited for, so that the server can say why."""
FAREWELL_S = 1.0
"""How long the end of a stream is waited for."""


def fault_of(fault: pb.Fault, server: str) -> ApsamError:
    """The package's own error for a step that failed; the stream goes on."""
    retry_after_s = fault.retry_after.seconds + fault.retry_after.nanos / 1e9
    named = error_named(fault.reason, fault.message, retry_after_s=retry_after_s)
    return named or ApsamError(f"{server} answered {fault.reason or fault.code}: {fault.message}")


def stream_error(error: grpc.RpcError, server: str) -> ApsamError:
    """The package's own error for a stream that broke."""
    if error.code() is grpc.StatusCode.CANCELLED:  # a server that stops ends its streams so
        return NotServingError(f"{server} cut the session off; open another one")
    return error_of(error, server)


def stream_ended(server: str) -> NotServingError:
    """The server ended the stream without a status."""
    return NotServingError(f"{server} ended the session; open another one")


def step_expired(server: str, timeout_s: float) -> DeadlineExceededError:
    """The stream was given up."""
    return DeadlineExceededError(f"{server} did not answer a step within {timeout_s:.1f} s")
