"""OpenTelemetry traces: a span per call, a span per stage, under the caller's own span."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc

from apsam_serve.engine.replies import STAGES
from apsam_serve.errors import InvalidInputError
from apsam_serve.service.calls import CallRecord

_NS = 1_000_000_000
_PATIENCE_S = 2.0
_parent: ContextVar[Any] = ContextVar("parent", default=None)
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def trace_id() -> str:
    """Of the call that runs here, 32 hexadecimal digits; "" where no trace is kept of it."""
    return _trace_id.get()


class Tracing(grpc.aio.ServerInterceptor):
    """Takes the caller's `traceparent` as an interceptor, and makes the spans as an observer. It is
    the first of the observers, so that the others can ask for `trace_id`.

    provider: an opentelemetry.sdk.trace.TracerProvider, None for one that the OTEL_* variables
    describe.

    Raises InvalidInputError without the library.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import propagate, trace
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        self._otel = trace
        self._extract = propagate.extract
        self._provider = provider or _exporting()
        self._tracer = self._provider.get_tracer("apsam_serve")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        given: Any = handler_call_details.invocation_metadata or ()
        texts = {key: value for key, value in given if isinstance(value, str)}
        _parent.set(self._extract(texts))
        return await continuation(handler_call_details)

    def finished(self, record: CallRecord) -> None:
        """Make the spans of a call that ended now, or of a step of a session."""
        ended_ns = time.time_ns()
        started_ns = ended_ns - round(record.seconds * _NS)
        span = self._tracer.start_span(
            record.method,
            context=_parent.get(),
            kind=self._otel.SpanKind.SERVER,
            start_time=started_ns,
            attributes=_attributes(record),
        )
        if record.code != "OK":
            status = self._otel.Status(self._otel.StatusCode.ERROR, record.reason or record.code)
            span.set_status(status)
        self._stages(record, span, started_ns)
        span.end(ended_ns)
        found = span.get_span_context()
        _trace_id.set(f"{found.trace_id:032x}" if found.trace_flags.sampled else "")

    def close(self) -> None:
        """Send what is left, for a moment: a collector that is not there must not hold a drained
        server."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_PATIENCE_S)

    def _stages(self, record: CallRecord, span: Any, started_ns: int) -> None:
        """Only how long each stage took is known: they are laid one after the other."""
        inside = self._otel.set_span_in_context(span)
        for stage in STAGES:
            seconds = record.timings_s.get(stage, 0.0)
            if seconds > 0:
                child = self._tracer.start_span(stage, context=inside, start_time=started_ns)
                started_ns += round(seconds * _NS)
                child.end(started_ns)


def _attributes(record: CallRecord) -> dict[str, str | int]:
    """OpenTelemetry's names for calls over gRPC, and ours."""
    return {
        "rpc.system": "grpc",
        "rpc.method": record.method,
        "rpc.grpc.status_code": grpc.StatusCode[record.code].value[0],
        "apsam.reason": record.reason,
        "apsam.owner": record.owner,
        "apsam.request_id": record.request_id,
        "apsam.model_digest": record.model_digest,
        "apsam.num_bytes_in": record.num_bytes_in,
        "apsam.num_bytes_out": record.num_bytes_out,
    }


def _exporting() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    named = Resource.create({"service.name": "apsam-serve"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _missing(error: ModuleNotFoundError) -> InvalidInputError:
    return InvalidInputError(
        f"--traces needs {error.name}, which is not installed; pip install 'apsam[traces]'"
    )
