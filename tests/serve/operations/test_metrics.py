"""What Prometheus sees, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apsam_serve.errors import DeviceFaultError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.calls import CallRecord
from apsam_serve.service.metrics import Metrics
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc
from tests.serve.operations.promql import grouping_labels, selectors

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "apsam.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    pytest.param(target["expr"], target["legendFormat"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
CLICK = pb.Prompt(points=[pb.Point(x=20, y=20)])
CLICKED = {"method": "Segment", "code": "OK", "reason": ""}
ADDED_BY_PROMETHEUS = {"instance", "job"}
Scrape = dict[str, dict[str, set[str]]]
"""Metric -> label -> values."""


def scraped(text: str) -> Scrape:
    found: Scrape = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


def read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture(scope="module")
def serve_once(config: Any) -> Iterator[Callable[..., BackgroundServer]]:
    """As `serve`, for all tests of this file."""
    started: list[BackgroundServer] = []

    def start(**changes: object) -> BackgroundServer:
        started.append(BackgroundServer(replace(config, **changes)).__enter__())
        return started[-1]

    yield start
    for server in started:
        server.__exit__(None, None, None)


@pytest.fixture(scope="module")
def scrape(
    serve_once: Callable[..., BackgroundServer],
    tmp_path_factory: pytest.TempPathFactory,
    bag_png: bytes,
) -> Scrape:
    """Of a live server that has answered calls of every kind."""
    log = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    running = serve_once(metrics_port=0, audit_log=log)
    server = running.server
    # What this machine lacks, and what only a device in trouble brings about.
    server.metrics.watch_device(lambda: {"used": 1.0, "total": 2.0})
    server.metrics.watch_log(lambda: 0)
    server.engine.faults["DEVICE_FAULT"] += 1
    server.engine.batcher.refused["click", "OVERLOADED"] += 1
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        image = pb.Image(file=bag_png)
        handle = stub.CreateEmbedding(pb.CreateEmbeddingRequest(image=image)).embedding.handle
        stub.Segment(pb.SegmentRequest(handle=handle, prompts=[CLICK]))
        stub.Propose(pb.ProposeRequest(handle=handle))
        steps = [
            pb.SessionRequest(image=image),
            pb.SessionRequest(segment=pb.SessionSegment(prompts=[CLICK])),
        ]
        assert len(list(stub.Session(iter(steps)))) == 2
        with pytest.raises(grpc.RpcError):
            stub.GetEmbedding(pb.GetEmbeddingRequest(handle="no such"))
    return scraped(read(server.metrics_port))


@pytest.mark.parametrize(("expression", "legend"), EXPRESSIONS)
def test_every_metric_label_and_value_of_the_dashboard_is_in_a_scrape(
    scrape: Scrape, expression: str, legend: str
) -> None:
    found = selectors(expression)
    assert found
    known: set[str] = set(ADDED_BY_PROMETHEUS)
    for selector in found:
        labels = scrape.get(selector.metric)
        assert labels is not None, f"nothing scraped is called {selector.metric}"
        known |= set(labels)
        for matcher in selector.matchers:
            if matcher.label in ADDED_BY_PROMETHEUS:
                continue
            assert matcher.label in labels, f"{selector.metric} has no label {matcher.label}"
            codes = grpc.StatusCode.__members__ if matcher.label == "code" else ()
            missing = set(matcher.values) - labels[matcher.label] - set(codes)
            assert not missing, f"{selector.metric} has no {matcher.label} {missing}"
    assert grouping_labels(expression) <= known
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= known


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    assert (DASHBOARD["id"], DASHBOARD["schemaVersion"] >= 39) == (None, True)
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names[0] == "datasource"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == 7
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize(
    "name",
    [
        *("apsam_requests_total", "apsam_request_seconds_bucket", "apsam_stage_seconds_bucket"),
        *("apsam_store_bytes", "apsam_store_entries", "apsam_store_events_total"),
        *("apsam_queue_depth", "apsam_queue_seconds_bucket", "apsam_batch_size_bucket"),
        *("apsam_refused_total", "apsam_faults_total", "apsam_gpu_memory_bytes"),
        *("apsam_model_info", "apsam_model_current", "apsam_model_verified", "apsam_build_info"),
        *("apsam_audit_records_total", "apsam_audit_failed", "apsam_log_dropped_total"),
        *("apsam_reloads_total", "process_resident_memory_bytes", "process_open_fds"),
    ],
)
def test_a_live_server_reports_what_the_manual_lists(scrape: Scrape, name: str) -> None:
    assert name in scrape
    base = re.sub("_bucket$", "", name)
    assert name.startswith("process_") or base in (ROOT / "docs" / "operations.md").read_text()


def test_labels_are_bounded_whatever_callers_send(record: Callable[..., CallRecord]) -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.finished(record(method=f"Guess{number}", handle=str(number), owner=str(number)))
    metrics.finished(record(method="Session/segment"))
    counted = metrics.registry.get_sample_value
    found = {"code": "OK", "reason": ""}
    assert counted("apsam_requests_total", {"method": "other", **found}) == 50
    assert counted("apsam_requests_total", {"method": "Session/segment", **found}) == 1


def test_every_call_and_batch_is_counted_once_however_scrapes_fall(
    record: Callable[..., CallRecord],
) -> None:
    metrics = Metrics()
    ended = threading.Event()

    def scrape_all_the_time() -> None:
        while not ended.is_set():
            generate_latest(metrics.registry)

    scraper = threading.Thread(target=scrape_all_the_time)
    scraper.start()
    for _ in range(1000):
        metrics.finished(record())
        metrics._batch_done("click", 2, [0.1, 0.2])
    ended.set()
    scraper.join()
    counted = metrics.registry.get_sample_value
    assert counted("apsam_requests_total", CLICKED) == 1000
    assert counted("apsam_request_seconds_count", {"method": "Segment"}) == 1000
    assert counted("apsam_batch_size_sum", {"class": "click"}) == 2000
    assert counted("apsam_queue_seconds_count", {"class": "click"}) == 2000


@pytest.mark.parametrize("num", [1, 33])  # few wait for the next scrape, many are counted at once
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("apsam_requests_total", CLICKED),
        ("apsam_request_seconds_count", {"method": "Segment"}),
        ("apsam_stage_seconds_count", {"stage": "points"}),
        ("apsam_batch_size_count", {"class": "click"}),
        ("apsam_queue_seconds_count", {"class": "click"}),
    ],
)
def test_a_scrape_of_one_metric_knows_of_every_call_and_batch(
    record: Callable[..., CallRecord], num: int, name: str, labels: dict[str, str]
) -> None:
    metrics = Metrics()
    for _ in range(num):
        metrics.finished(record())
        metrics._batch_done("click", 1, [0.1])
    (family,) = metrics.registry.restricted_registry([name]).collect()
    assert (labels, num) in [(one.labels, one.value) for one in family.samples]


def test_a_scrape_waits_for_what_another_thread_has_begun_to_count(
    record: Callable[..., CallRecord],
) -> None:
    counting, go_on = threading.Event(), threading.Event()

    class Slow(dict[str, float]):
        def items(self) -> Any:
            counting.set()
            assert go_on.wait(5)
            return super().items()

    metrics = Metrics()
    metrics.finished(record(timings_s=Slow(points=0.001)))
    counted, stage = metrics.registry.get_sample_value, {"stage": "points"}
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(counted, "apsam_stage_seconds_count", stage)
        assert counting.wait(5)
        second = threads.submit(counted, "apsam_stage_seconds_count", stage)
        with pytest.raises(TimeoutError):
            second.result(0.1)
        go_on.set()
        assert (first.result(), second.result()) == (1, 1)


@pytest.mark.parametrize(("switched", "outcome"), [(True, "switched"), (False, "failed")])
def test_reloads_count_by_outcome(switched: bool, outcome: str) -> None:
    metrics = Metrics()
    metrics.reloaded(switched=switched)
    counted = metrics.registry.get_sample_value("apsam_reloads_total", {"outcome": outcome})
    assert counted == 1


def test_a_broken_device_hides_no_other_metric() -> None:
    def broken() -> dict[str, float]:
        raise DeviceFaultError("it fell off the bus")

    metrics = Metrics()
    metrics.watch_device(broken)
    text = generate_latest(metrics.registry).decode()
    assert "apsam_build_info" in text
    assert "apsam_gpu_memory_bytes" not in text


def test_without_a_device_there_is_no_device_memory() -> None:
    assert Metrics().registry.get_sample_value("apsam_gpu_memory_bytes", {"kind": "used"}) is None
