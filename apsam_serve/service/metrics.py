"""Prometheus metrics, `apsam_*`, in base units, with bounded labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from apsam_serve.engine.batcher import Kind
from apsam_serve.engine.engine import Engine

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5),
)


class Metrics:
    """One registry per server, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._http: Any = None
        self._thread: Any = None
        self._requests = Counter(
            "apsam_requests",
            "Calls answered.",
            ["method", "code", "reason"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "apsam_request_seconds",
            "Seconds per call, all outcomes.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "apsam_stage_seconds",
            "Seconds per stage of an answered call.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def request(self, method: str, *, code: str, reason: str, seconds: float) -> None:
        """Count one call."""
        self._requests.labels(method, code, reason).inc()
        self._request_seconds.labels(method).observe(seconds)

    def stages(self, timings_s: Mapping[str, float]) -> None:
        """Count the stages of one answered call."""
        for stage, seconds in timings_s.items():
            self._stage_seconds.labels(stage).observe(seconds)

    def watch(self, engine: Engine) -> None:
        """Report the engine's store and queues, read when scraped."""
        self.registry.register(_EngineCollector(engine))

    def listen(self, host: str, port: int) -> int:
        """Serve /metrics over HTTP. Returns the port, which is found when 0 is given."""
        self._http, self._thread = start_http_server(port, addr=host, registry=self.registry)
        return int(self._http.server_port)

    def close(self) -> None:
        """Stop serving; harmless when nothing is served."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()
            self._http = None


class _EngineCollector(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Any]:
        store, batcher = self._engine.store, self._engine.batcher
        held = GaugeMetricFamily("apsam_store_bytes", "Bytes of held images.", labels=["state"])
        held.add_metric(["used"], store.held_bytes)
        held.add_metric(["reserved"], store.reserved_bytes)
        held.add_metric(["limit"], store.budget_bytes)
        yield held
        yield GaugeMetricFamily("apsam_store_entries", "Held images.", value=len(store))
        events = CounterMetricFamily(
            "apsam_store_events", "What happened to held images.", labels=["event"]
        )
        for event, count in dict(store.events).items():
            events.add_metric([event], count)
        yield events
        depth = GaugeMetricFamily("apsam_queue_depth", "Calls in the server.", labels=["class"])
        for kind in Kind:
            depth.add_metric([kind.value], batcher.depth(kind))
        yield depth
        yield GaugeMetricFamily(
            "apsam_model_verified",
            "1 where the build that is served has passed its gate.",
            value=float(self._engine.build.gate.passed),
        )
