"""The one place where exceptions become gRPC statuses, and where calls begin and end."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from apsam_serve.errors import (
    ApsamError,
    InvalidImageError,
    InvalidInputError,
    InvalidPromptError,
    RequestIdReusedError,
)
from apsam_serve.service.calls import Calls, Context, Ledger, enter
from apsam_serve.service.convert import duration_to
from apsam_serve.service.faults import Fault, fault_of
from apsam_serve.service.trailers import REASON_KEY, RETRY_KEY

DOMAIN = "apsam"
_UNRECORDED = re.compile(r"/grpc\..*|.*/(GetServerInfo|Server.*|Model(?!Infer$).*|Repository.*)")
"""Health, reflection and what pollers ask: nobody needs a record of that. All that concerns an
image is recorded."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Parse = Callable[[bytes], Any]
Inner = Callable[[Any, Context], Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The outermost one. Opens each call's ledger, maps its errors, tells the observers of its end,
    and has the auditor record what was not recorded with the work. require(owner, method): raises
    where the call may not be made, before its message is read; a Session counts once."""

    def __init__(self, calls: Calls, *, require: Callable[[str, str], None] | None = None) -> None:
        self._calls = calls
        self._require = require
        self._handlers: dict[str, Handler] = {}  # as they are called, by path

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        path: str = handler_call_details.method
        if path not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[path] = self._wrapped(handler, path)
        return self._handlers[path]

    def _wrapped(self, handler: Any, path: str) -> Handler:
        # The bytes are parsed inside, or broken ones would end as UNKNOWN with a Python traceback.
        if handler.unary_unary is not None:
            unary = self._unary(handler.unary_unary, handler.request_deserializer, path)
            return grpc.unary_unary_rpc_method_handler(
                unary, response_serializer=handler.response_serializer
            )
        if handler.unary_stream is not None:
            wrap, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        else:
            assert handler.stream_stream is not None, path
            wrap, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        stream = self._stream(inner, handler.request_deserializer, path)
        return wrap(stream, response_serializer=handler.response_serializer)

    def _unary(self, inner: Inner, parse: Parse, path: str) -> Inner:
        method, standard = _name(path), _UNRECORDED.fullmatch(path) is not None

        async def call(raw: bytes, context: Context) -> Any:
            ledger = Ledger(method=method, peer=context.peer(), recorded=standard)
            enter(ledger)
            try:
                self._admit(ledger, context)
                ledger.num_bytes_in = len(raw)
                reply = await inner(_parsed(parse, raw, path), context)
                ledger.num_bytes_out = reply.ByteSize()
                self._calls.audit(ledger)
            except BaseException as error:
                if (status := self._ended(ledger, error)) is None:
                    raise
            else:
                self._calls.finished(ledger)
                return reply
            del raw  # gRPC keeps the abort with this frame in a cycle, until the next collection
            await context.abort_with_status(status)

        return call

    def _stream(self, inner: Inner, parse: Parse, path: str) -> Inner:
        method, standard = _name(path), _UNRECORDED.fullmatch(path) is not None

        async def call(requests: Any, context: Context) -> None:
            ledger = Ledger(method=method, peer=context.peer(), recorded=standard)
            enter(ledger)
            try:
                self._admit(ledger, context)
                if isinstance(requests, bytes):
                    ledger.num_bytes_in = len(requests)
                    given = _parsed(parse, requests, path)
                else:
                    given = _each_parsed(parse, requests, path, ledger)
                replies = inner(given, context)
                if inspect.isawaitable(replies):  # it writes to the context by itself
                    await replies
                else:
                    # Closed here: a generator that is left to the collector cleans up too late.
                    async with aclosing(replies):
                        async for reply in replies:
                            await context.write(reply)
            except BaseException as error:
                if (status := self._ended(ledger, error)) is None:
                    raise
            else:
                self._calls.finished(ledger)
                return
            del requests
            await context.abort_with_status(status)

        return call

    def _ended(self, ledger: Ledger, error: BaseException) -> grpc.Status | None:
        """The status of a call that failed, None where the error is to be raised as it is."""
        if isinstance(error, asyncio.CancelledError):
            self._calls.finished(ledger, "CANCELLED")
        elif isinstance(error, grpc.aio.AbortError):  # a standard service chose its own status
            self._calls.finished(ledger, "ABORTED")
        elif isinstance(error, Exception):
            status = self._answer(ledger, error)
            error.__traceback__ = None  # its frames hold the request, and some of them hold it
            return status
        return None

    def _admit(self, ledger: Ledger, context: Context) -> None:
        """Raise what refuses a call before its work."""
        ledger.owner = self._calls.owner_of(context)
        if self._require is not None:
            self._require(ledger.owner, ledger.method)
        if not ledger.recorded:
            self._calls.require_recordable()

    def _answer(self, ledger: Ledger, error: Exception) -> grpc.Status:
        """The status of a call that failed, recorded and observed before the caller can know."""
        fault = fault_of(error)
        try:
            self._calls.audit(ledger, fault.code.name, fault.reason)
        except ApsamError as unrecorded:
            error, fault = unrecorded, fault_of(unrecorded)
        self._calls.finished(ledger, fault.code.name, fault.reason)
        return _status(fault, error)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


async def _each_parsed(
    parse: Parse, requests: AsyncIterator[bytes], path: str, ledger: Ledger
) -> AsyncIterator[Any]:
    async for raw in requests:
        ledger.num_bytes_in += len(raw)
        yield _parsed(parse, raw, path)


def _parsed(parse: Parse, raw: bytes, path: str) -> Any:
    try:
        return parse(raw)
    except DecodeError as error:
        raise InvalidInputError(
            f"{len(raw)} bytes are no {_name(path)}Request; generate the client from the server's "
            "proto"
        ) from error


class _Trailers(grpc.Status):
    """code, details and trailing_metadata as `abort_with_status` wants them."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = trailing


def _status(fault: Fault, error: Exception) -> grpc.Status:
    details: list[Any] = [ErrorInfo(reason=fault.reason, domain=DOMAIN)]
    trailing: list[tuple[str, str | bytes]] = [(REASON_KEY, fault.reason)]
    if isinstance(error, InvalidInputError):
        violation = BadRequest.FieldViolation(field=_field(error), description=fault.message)
        details.append(BadRequest(field_violations=[violation]))
    if fault.retry_after_s is not None:
        delay = duration_to(max(0.001, fault.retry_after_s))
        details.append(RetryInfo(retry_delay=delay))
        trailing.append((RETRY_KEY, str(delay.ToMilliseconds())))
    code, message = fault.code, fault.message
    rich = Status(code=code.value[0], message=message, details=[_any(d) for d in details])
    trailing.append(("grpc-status-details-bin", rich.SerializeToString()))
    return _Trailers(code, message, tuple(trailing))


def _field(error: InvalidInputError) -> str:
    if isinstance(error, InvalidImageError):
        return "image"
    if isinstance(error, RequestIdReusedError):
        return "request_id"
    return "prompts" if isinstance(error, InvalidPromptError) else "request"


def _any(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
