"""Prometheus metrics, `apsam_*`, in base units, with bounded labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from threading import Lock
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from apsam_serve.engine.batcher import Kind
from apsam_serve.engine.engine import Engine
from apsam_serve.errors import ApsamError
from apsam_serve.service.access import METHODS
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.calls import CallRecord

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5),
)
_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_STEPS = tuple(f"Session/{step}" for step in ("image", "segment", "propose", "nothing"))
_OTHER = "other"
_MOST_WAITING = 32
"""Calls, and batches, that are counted at once."""
DeviceBytes = Callable[[], Mapping[str, float]]
"""Bytes of the device's memory: "used" and "total". Raises DeviceFaultError."""


class Metrics:
    """One registry per server, so that several can live in one process. It observes calls; `watch*`
    name what else is read when scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        # Counting one takes longer than all else that ends a call, unless many are counted in a
        # row; so they wait for that, or for the next scrape.
        self._calls: deque[CallRecord] = deque()
        self._batches: deque[tuple[str, int, Sequence[float]]] = deque()
        self._counting = Lock()  # or a scrape could miss what another thread has begun to count
        self._http: Any = None
        self._thread: Any = None
        self._methods = frozenset((*METHODS, *_STEPS))
        self._requests = self._counter(
            "apsam_requests",
            "Calls, and steps of sessions, that ended.",
            "method",
            "code",
            "reason",
        )
        self._request_seconds = self._histogram(
            "apsam_request_seconds", "Seconds per call, all outcomes.", "method"
        )
        self._stage_seconds = self._histogram(
            "apsam_stage_seconds", "Seconds per stage of an answered call.", "stage"
        )
        self._queue_seconds = self._histogram(
            "apsam_queue_seconds", "Seconds that a job waited for the device.", "class"
        )
        self._batch_size = self._histogram(
            "apsam_batch_size", "Jobs per batch on the device.", "class", buckets=_BATCHES
        )
        self._reloads = self._counter(
            "apsam_reloads", "Attempts to switch to another model.", "outcome"
        )
        for outcome in ("switched", "failed"):
            self._reloads.labels(outcome)
        info = GaugeMetricFamily("apsam_build_info", "The software; always 1.", labels=["version"])
        info.add_metric([version("apsam")], 1)
        self._watch(lambda: [info])
        ProcessCollector(registry=self.registry)

    def finished(self, record: CallRecord) -> None:
        """Count one call, or one step of a session: every scrape knows of it."""
        self._calls.append(record)
        if len(self._calls) >= _MOST_WAITING:
            self._count()

    def reloaded(self, *, switched: bool) -> None:
        """Count an attempt to switch to another model."""
        self._reloads.labels("switched" if switched else "failed").inc()

    def watch(self, engine: Engine) -> None:
        """Report the engine's store, queues, models and faults, and be told of its batches."""
        engine.observe = self._batch_done
        self._watch(lambda: _engine_families(engine))

    def watch_audit(self, audit: AuditLog) -> None:
        """Report the audit log."""
        self._watch(lambda: _audit_families(audit))

    def watch_log(self, num_dropped: Callable[[], int]) -> None:
        """Report how many log lines were dropped, see `logs.Log.num_dropped`."""
        self._watch(
            lambda: [
                CounterMetricFamily(
                    "apsam_log_dropped",
                    "Log lines that nobody could take as fast as they came.",
                    value=num_dropped(),
                )
            ]
        )

    def watch_device(self, device_bytes: DeviceBytes) -> None:
        """Report the memory of the device; not called where there is none."""

        def families() -> list[Any]:
            try:
                found = device_bytes()
            except ApsamError:  # a broken device is when all other metrics are needed most
                return []
            text = "Memory of the device."
            return [_labelled(GaugeMetricFamily, "apsam_gpu_memory_bytes", text, "kind", found)]

        self._watch(families)

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

    def _batch_done(self, kind: str, num_jobs: int, queued_s: Sequence[float]) -> None:
        self._batches.append((kind, num_jobs, queued_s))
        if len(self._batches) >= _MOST_WAITING:
            self._count()

    def _count(self) -> None:
        """Count what waits for it, on any thread; when this returns, nothing waits."""
        with self._counting:
            while self._calls:
                record = self._calls.popleft()
                method = record.method if record.method in self._methods else _OTHER
                self._requests.labels(method, record.code, record.reason).inc()
                self._request_seconds.labels(method).observe(record.seconds)
                for stage, seconds in record.timings_s.items():
                    self._stage_seconds.labels(stage).observe(seconds)
            while self._batches:
                kind, num_jobs, queued_s = self._batches.popleft()
                self._batch_size.labels(kind).observe(num_jobs)
                for seconds in queued_s:
                    self._queue_seconds.labels(kind).observe(seconds)

    def _watch(self, collect: Callable[[], Sequence[Any]]) -> None:
        self.registry.register(_WhenScraped(collect))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(name, text, labels, registry=None)
        self.registry.register(_Counted(counter, self._count))
        return counter

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        histogram = Histogram(name, text, labels, buckets=buckets, registry=None)
        self.registry.register(_Counted(histogram, self._count))
        return histogram


class _Counted(Collector):
    """A metric that `count` has brought up to date. A scrape of some names asks only for those."""

    def __init__(self, metric: Counter | Histogram, count: Callable[[], None]) -> None:
        self._metric = metric
        self._count = count

    def describe(self) -> Iterable[Metric]:
        return self._metric.describe()

    def collect(self) -> Iterable[Metric]:
        self._count()
        return self._metric.collect()


class _WhenScraped(Collector):
    def __init__(self, collect: Callable[[], Sequence[Any]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Any]:
        yield from self._collect()


def _engine_families(engine: Engine) -> list[Any]:
    store, batcher = engine.store, engine.batcher
    refused = CounterMetricFamily(
        "apsam_refused", "Calls that were not let in.", labels=["class", "reason"]
    )
    for (kind, reason), count in dict(batcher.refused).items():
        refused.add_metric([kind, reason], count)
    return [
        _labelled(
            GaugeMetricFamily,
            "apsam_store_bytes",
            "Bytes of held images.",
            "state",
            {
                "used": store.held_bytes,
                "reserved": store.reserved_bytes,
                "limit": store.budget_bytes,
            },
        ),
        GaugeMetricFamily("apsam_store_entries", "Held images.", value=len(store)),
        _labelled(
            CounterMetricFamily,
            "apsam_store_events",
            "What happened to held images.",
            "event",
            store.events,
        ),
        _labelled(
            GaugeMetricFamily,
            "apsam_queue_depth",
            "Calls in the server.",
            "class",
            {kind.value: batcher.depth(kind) for kind in Kind},
        ),
        refused,
        _labelled(
            CounterMetricFamily,
            "apsam_faults",
            "Times that the device or the model failed.",
            "reason",
            engine.faults,
        ),
        *_model_families(engine),
    ]


def _model_families(engine: Engine) -> list[Any]:
    names = ["digest", "preset", "form", "precision"]
    info = GaugeMetricFamily("apsam_model_info", "Models that answer; always 1.", labels=names)
    current = GaugeMetricFamily(
        "apsam_model_current", "1 for the model that new images go to.", labels=["digest"]
    )
    verified = GaugeMetricFamily(
        "apsam_model_verified", "1 where the build has passed its gate.", labels=["digest"]
    )
    for model in engine.models():
        info.add_metric([model.digest, model.preset, model.form, model.precision], 1)
        current.add_metric([model.digest], float(model.current))
        verified.add_metric([model.digest], float(model.verified))
    return [info, current, verified]


def _audit_families(audit: AuditLog) -> list[Any]:
    return [
        CounterMetricFamily(
            "apsam_audit_records", "Records taken for the audit log.", value=audit.num_records
        ),
        GaugeMetricFamily(
            "apsam_audit_failed",
            "1 while the audit log cannot be written and nothing is answered.",
            value=float(audit.failed),
        ),
    ]


def _labelled(family: Any, name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
    built = family(name, text, labels=[label])
    for key, value in dict(values).items():
        built.add_metric([key], value)
    return built
