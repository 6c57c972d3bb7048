"""A span per call, a span per stage, under the caller's own span."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from apsam_serve.config import ServeConfig
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.calls import CallRecord
from apsam_serve.service.tracing import Tracing, trace_id
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

Record = Callable[..., CallRecord]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """names: of the spans that came, with their trace id."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def Export(self, request: Any, context: object) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.names |= {span.name: span.trace_id.hex() for span in scope.spans}
        return trace_service_pb2.ExportTraceServiceResponse()


class Details(grpc.HandlerCallDetails):
    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self.method = "/apsam_serve.v1.SegmentationService/Segment"
        self.invocation_metadata = metadata


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    built = Tracing(provider)
    yield built
    built.close()


async def _nothing(details: grpc.HandlerCallDetails) -> None:
    return None


def call(tracing: Tracing, record: CallRecord, *metadata: tuple[str, str | bytes]) -> str:
    """Let a call with that metadata come and end; returns its trace id as logs would see it."""

    async def run() -> str:
        await tracing.intercept_service(_nothing, Details(*metadata))
        tracing.finished(record)
        return trace_id()

    return asyncio.run(run())


def spans(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, dict[str, ReadableSpan]]:
    """(the call's span, the stages' by name)"""
    *stages, root = exporter.get_finished_spans()
    return root, {span.name: span for span in stages}


def test_a_call_is_a_span_with_a_span_per_stage(
    tracing: Tracing, exporter: InMemorySpanExporter, record: Record
) -> None:
    call(tracing, record(seconds=0.02))
    root, stages = spans(exporter)
    assert (root.name, root.kind, root.parent) == ("Segment", SpanKind.SERVER, None)
    assert root.attributes is not None
    assert root.attributes["rpc.grpc.status_code"] == 0
    assert root.attributes["apsam.owner"] == "station-7"
    assert root.end_time - root.start_time == pytest.approx(0.02e9)  # type: ignore[operator]
    assert list(stages) == ["queue", "decode_1", "points", "decode_2"]
    for span in stages.values():
        assert span.parent is not None
        assert span.parent.span_id == root.context.span_id
    decode = stages["decode_1"]
    assert decode.end_time - decode.start_time == pytest.approx(0.004e9)  # type: ignore[operator]
    assert stages["points"].start_time == decode.end_time


def test_a_failed_call_is_marked_with_its_reason(
    tracing: Tracing, exporter: InMemorySpanExporter, record: Record
) -> None:
    call(tracing, record(code="NOT_FOUND", reason="EVICTED", timings_s={}))
    root, stages = spans(exporter)
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "EVICTED")
    assert not stages


def test_the_callers_span_is_the_parent_and_logs_learn_its_trace(
    tracing: Tracing, exporter: InMemorySpanExporter, record: Record
) -> None:
    metadata = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("some-bin", b"\xff")]
    assert call(tracing, record(), *metadata) == TRACE
    root, _ = spans(exporter)
    assert root.parent is not None
    assert (f"{root.context.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize("sent", ["nonsense", f"00-{TRACE}-{'0' * 16}-01", "\u2603" * 1000])
def test_a_broken_parent_is_no_parent(
    tracing: Tracing, exporter: InMemorySpanExporter, record: Record, sent: str
) -> None:
    assert call(tracing, record(), ("traceparent", sent)) != TRACE
    assert spans(exporter)[0].parent is None


def test_a_caller_that_is_not_sampled_leaves_no_spans(
    tracing: Tracing, exporter: InMemorySpanExporter, record: Record
) -> None:
    assert call(tracing, record(), ("traceparent", f"00-{TRACE}-{PARENT}-00")) == ""
    assert not exporter.get_finished_spans()


def test_without_a_provider_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lane-3")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracing = Tracing()
    assert tracing._provider.resource.attributes["service.name"] == "lane-3"
    assert isinstance(tracing._provider.sampler, ParentBased)
    tracing.close()
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    unnamed = Tracing()
    assert unnamed._provider.resource.attributes["service.name"] == "apsam-serve"
    unnamed.close()


def test_a_live_server_sends_its_spans_to_the_collector_of_the_environment(
    config: ServeConfig, bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    with (
        BackgroundServer(replace(config, traces=True)) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
        stub.CreateEmbedding(request, metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")])
    server.stop(None).wait()
    assert {"CreateEmbedding", "image", "encode"} <= set(collector.names)
    assert set(collector.names.values()) == {TRACE}


def test_a_collector_that_is_not_there_holds_nothing_up(
    config: ServeConfig, bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    running = BackgroundServer(replace(config, traces=True))
    with running, grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        image = pb.Image(file=bag_png)
        stub.CreateEmbedding(pb.CreateEmbeddingRequest(image=image), timeout=2)
        started_s = time.perf_counter()
    assert time.perf_counter() - started_s < 4


@pytest.mark.parametrize(
    "hidden", ["opentelemetry", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"]
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(hidden: str) -> None:
    code = (
        f"import sys; sys.modules[{hidden!r}] = None\n"
        "from apsam_serve.service.tracing import Tracing\n"
        "Tracing()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"InvalidInputError: --traces needs {hidden}" in done.stderr
    assert "not installed; pip install 'apsam[traces]'" in done.stderr
