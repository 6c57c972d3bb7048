"""The one place where exceptions become gRPC statuses."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

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
from apsam_serve.service.metrics import Metrics
from apsam_serve.service.trailers import REASON_KEY, RETRY_KEY

DOMAIN = "apsam"
_MAX_MESSAGE = 500  # characters; trailers of all calls share 8 KiB, and escapes triple a character
_CODES: tuple[tuple[type[ApsamError], grpc.StatusCode], ...] = (
    (InvalidInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (HandleGoneError, grpc.StatusCode.NOT_FOUND),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (NotServingError, grpc.StatusCode.UNAVAILABLE),
)
_log = logging.getLogger("apsam_serve.service")

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Context], Awaitable[Any]]
Parse = Callable[[bytes], Any]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Maps errors of unary calls and counts every one of them. Streams of the standard services
    pass untouched."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = handler_call_details.method.rsplit("/", 1)[-1]
        # The bytes are parsed inside, or broken ones would end as UNKNOWN with a Python traceback.
        inner, parse = cast(Unary, handler.unary_unary), cast(Parse, handler.request_deserializer)
        return grpc.unary_unary_rpc_method_handler(
            self._wrapped(inner, parse, method),
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )

    def _wrapped(self, inner: Unary, parse: Parse, method: str) -> Unary:
        async def call(raw: bytes, context: Context) -> Any:
            started = time.perf_counter()

            def count(code: str, reason: str = "") -> None:
                seconds = time.perf_counter() - started
                self._metrics.request(method, code=code, reason=reason, seconds=seconds)

            try:
                reply = await inner(_parsed(parse, raw, method), context)
            except asyncio.CancelledError:
                count("CANCELLED")
                raise
            except grpc.aio.AbortError:  # a standard service chose its own status
                count("ABORTED")
                raise
            except Exception as error:
                status, reason = _status(error)
                count(status.code.name, reason)  # before the caller can know
                await context.abort_with_status(status)
            count("OK")
            return reply

        return call


def _parsed(parse: Parse, raw: bytes, method: str) -> Any:
    try:
        return parse(raw)
    except DecodeError as error:
        raise InvalidInputError(
            f"{len(raw)} bytes are no {method}Request; generate the client from the server's proto"
        ) from error


class _Trailers(grpc.Status):
    """code, details and trailing_metadata as `abort_with_status` wants them."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = trailing


def _status(error: Exception) -> tuple[_Trailers, str]:
    """(status, reason) of an error. An unknown one is logged, and nothing of it is told."""
    known = [code for kind, code in _CODES if isinstance(error, kind)]
    if isinstance(error, ApsamError) and known:
        code, reason, message = known[0], error.reason, str(error)[:_MAX_MESSAGE]
    else:
        incident = uuid.uuid4().hex[:12]
        _log.error("incident %s", incident, exc_info=error)
        code, reason = grpc.StatusCode.INTERNAL, ApsamError.reason
        message = f"the server failed; its log names the cause under incident {incident}"
    details: list[Any] = [ErrorInfo(reason=reason, domain=DOMAIN)]
    trailing: list[tuple[str, str | bytes]] = [(REASON_KEY, reason)]
    if isinstance(error, InvalidInputError):
        violation = BadRequest.FieldViolation(field=_field(error), description=message)
        details.append(BadRequest(field_violations=[violation]))
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromMilliseconds(max(1, round(error.retry_after_s * 1000)))
        details.append(RetryInfo(retry_delay=delay))
        trailing.append((RETRY_KEY, str(delay.ToMilliseconds())))
    rich = Status(code=code.value[0], message=message, details=[_any(d) for d in details])
    trailing.append(("grpc-status-details-bin", rich.SerializeToString()))
    return _Trailers(code, message, tuple(trailing)), reason


def _field(error: InvalidInputError) -> str:
    if isinstance(error, InvalidImageError):
        return "image"
    return "prompts" if isinstance(error, InvalidPromptError) else "source"


def _any(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
