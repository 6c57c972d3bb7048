"""A build on a GPU as a service: its starts, and clicks through gRPC."""

from __future__ import annotations

import asyncio
import statistics

from apsam_serve.contract.manifest import Bundle
from bench.load_grpc import Load, Loop, load
from bench.load_rows import NETWORK_NOTE, row_of
from bench.measure.distribution import typical
from bench.measure.document import Figure, Row
from bench.measure.serving import ServedBundle
from bench.on_gpu_builds import Chosen, Task

_START_S = 600.0
"""The first start may compile plans."""


def served(bundle: Bundle, chosen: Chosen, task: Task) -> tuple[list[Row], list[Figure]]:
    """Clicks, encodes, and starts: those after a first one, for which what that one compiled is
    kept. Clicks are the last one's. Raises RuntimeError where the service does not start, or does
    not answer all of them."""
    cache = bundle.path.with_name(f"{bundle.path.name}-cache")
    words = (
        *("--device", chosen.device, "--backend", chosen.backend, "--build", chosen.name),
        *("--cache", str(cache)),
    )
    ready_s: list[float] = []
    for number in range(-1, task.starts):
        with ServedBundle(bundle.path, *words, start_timeout_s=_START_S) as server:
            if number >= 0:
                ready_s.append(server.ready_s)
            if number == task.starts - 1:
                found = _load(server, bundle, task)
    name = f"{chosen.name} through gRPC"
    click = row_of(
        found.clicks,
        name=name,
        group=f"click on the GPU, {task.preset}",
        mask_iou=task.truth.compare(found.answers),
        note=f"{task.truth.note}; {NETWORK_NOTE}",
    )
    encode = row_of(found.encodes, name=f"{name}, PNG files", group=f"encode, {task.preset}")
    if click.errors or encode.errors:
        raise RuntimeError(f"{name}: calls failed: {dict(click.errors)} {dict(encode.errors)}")
    start = Row(name=f"{chosen.name}, to SERVING", group="start", unit="s", samples=ready_s)
    p50 = typical(click.samples)
    spread = f"least {min(ready_s):.1f}, most {max(ready_s):.1f} of {len(ready_s)} starts"
    figures = [
        Figure(
            key=f"click_gpu_grpc_ms_{task.preset}",
            value=p50.value,
            low=p50.low,
            high=p50.high,
            detail=f"{chosen.name}, p50, loopback",
        ),
        Figure(
            key=f"cold_start_gpu_s_{task.preset}",
            value=statistics.median(ready_s),
            detail=f"{chosen.name}, median; {spread}",
        ),
    ]
    return [click, encode, start], figures


def _load(server: ServedBundle, bundle: Bundle, task: Task) -> Load:
    num_clicks = len(task.workload.clicks)
    return asyncio.run(
        load(
            server.address,
            task.workload,
            Loop(num_calls=task.turns * num_clicks),
            warm_up=num_clicks,
            num_encodes=3 * len(task.workload.files),
            digest=bundle.digest,
        )
    )
