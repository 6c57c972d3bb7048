"""Throughput against the number of stations.

    python -m bench.stations [--bundle BUNDLE] [--stations 1,2,4,8,16] [-- OPTIONS OF apsam-serve]

Every station has a connection and a held image of its own and clicks as fast as it is answered,
with adaptive points. The server is a process, and so is the generator. The numbers of stations take
turns, so that whatever else the machine does falls on all alike. One station alone has all cores
to itself: the graphs use several threads for one click, where they gain by it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from apsam_serve.client import Client
from apsam_serve.client.requests import FASTEST, segment_request
from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Prompt
from apsam_serve.local import open_bundle
from apsam_serve.service.convert import mask_from
from apsam_serve.v1 import segmentation_pb2 as pb
from bench.measure.distribution import ratio, typical
from bench.measure.document import Document, Figure, MaskIou, Row, publish
from bench.measure.options import above_zero, guarded, model_at, positive, positives
from bench.measure.rounds import told
from bench.measure.serving import ServedBundle
from bench.measure.workload import Workload, synthetic
from bench.stations_generator import Heard, click

Masks = Mapping[tuple[int, int], NDArray[np.bool_]]
"""By number of the image and of the click on it."""
FEW, MANY = 1, 8
_METRICS = re.compile(r"metrics on ([^\s\"]+:\d+)")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One closed loop of some stations. batches, jobs: click batches on the device and what was in
    them; server_cpu_s: of `heard.num_calls`; other_cpu_s: that anything else had in elapsed_s, and
    what the host took away."""

    num_stations: int
    heard: Heard
    server_cpu_s: float
    other_cpu_s: float
    elapsed_s: float
    batches: float
    jobs: float

    @cached_property
    def seconds(self) -> float:
        """Of the measured time, to its last answer."""
        shots = self.heard.shots
        return max(shot.done_s for shot in shots) - shots[0].sent_s

    @cached_property
    def rate(self) -> float:
        """Answers per second."""
        return sum(not shot.error for shot in self.heard.shots) / self.seconds

    @cached_property
    def slowest_share(self) -> float:
        """Answers of the slowest station over the stations' mean."""
        answered = Counter(shot.station for shot in self.heard.shots if not shot.error)
        counts = [answered[station] for station in range(self.num_stations)]
        return float(min(counts) / np.mean(counts))


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where a call failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=Path("tiny"), help="or a preset (%(default)s)")
    add("--stations", type=positives, default="1,2,4,8,16", help="numbers of them (%(default)s)")
    add("--rounds", type=positive, default=6, help="(%(default)s)")
    add("--seconds", type=above_zero, default=2.0, help="of each loop (%(default)s)")
    add("--warm-up-s", type=above_zero, default=0.3, help="before each (%(default)s)")
    add("--images", type=positive, default=8, help="different ones (%(default)s)")
    add("--json", type=Path)
    add("serve", nargs="*", help="options of apsam-serve, after --")
    options = parser.parse_args(argv)
    model = model_at(options.bundle)
    workload = synthetic(num_images=options.images)
    runs = measure(
        model.bundle,
        workload,
        options.stations,
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up_s=options.warm_up_s,
        serve=options.serve,
    )
    expected = reference(model.bundle, workload)
    rows = [_row(runs[count], expected, len(workload.images)) for count in options.stations]
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    document = Document(
        benchmark="stations",
        settings={**settings, **vars(model)},
        rows=rows,
        figures=_figures(runs, model.preset),
    )
    publish(document, json_path=options.json)
    return 1 if any(row.errors for row in rows) else 0


def measure(
    bundle: Path,
    workload: Workload,
    counts: Sequence[int],
    *,
    rounds: int,
    seconds: float,
    warm_up_s: float,
    serve: Sequence[str],
) -> dict[int, list[Run]]:
    """Runs by number of stations, one per round, in an order drawn anew for each round."""
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    draw, order = random.Random(0), list(counts)
    spawn = multiprocessing.get_context("spawn")
    with (
        ServedBundle(bundle, "--metrics-port", "0", *serve) as server,
        ProcessPoolExecutor(1, mp_context=spawn) as generator,
        Client(server.address) as client,
    ):
        requests = _hold(client, workload, max(counts))
        for _ in told(range(rounds), "stations"):
            draw.shuffle(order)
            for count in order:
                before = _Before.of(server)
                heard = generator.submit(
                    click,
                    server.address,
                    requests[:count],
                    warm_up_s=warm_up_s,
                    seconds=seconds,
                ).result()
                runs[count].append(before.run(server, heard, count))
    return runs


def reference(bundle: Path, workload: Workload) -> Masks:
    """The masks of the same clicks in this process, each click alone, through FP32 graphs."""
    segmenter = open_bundle(bundle)
    masks = {}
    for number, prompts in _clicks_by_image(workload).items():
        image = segmenter.encode(workload.images[number])
        for click_number, prompt in enumerate(prompts):
            (answer,) = image.segment([prompt])
            masks[number, click_number] = answer.mask
    segmenter.close()
    return masks


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What was counted when a loop began."""

    server_cpu_s: float
    machine_cpu_s: float
    clock_s: float
    batches: float
    jobs: float

    @classmethod
    def of(cls, server: ServedBundle) -> _Before:
        batches, jobs = _click_batches(server)
        return cls(
            server_cpu_s=server.cpu_s(),
            machine_cpu_s=_machine_cpu_s(),
            clock_s=time.perf_counter(),
            batches=batches,
            jobs=jobs,
        )

    def run(self, server: ServedBundle, heard: Heard, num_stations: int) -> Run:
        """The loop that has ended now."""
        now = _Before.of(server)
        server_cpu_s = now.server_cpu_s - self.server_cpu_s
        others_s = now.machine_cpu_s - self.machine_cpu_s - server_cpu_s - heard.cpu_s
        return Run(
            num_stations=num_stations,
            heard=heard,
            server_cpu_s=server_cpu_s,
            other_cpu_s=max(0.0, others_s),
            elapsed_s=now.clock_s - self.clock_s,
            batches=now.batches - self.batches,
            jobs=now.jobs - self.jobs,
        )


def _machine_cpu_s() -> float:
    """Processor time that cores were not idle for, so far, what the host took away included."""
    first, *_ = Path("/proc/stat").read_text("ascii").splitlines()
    user, nice, system, _idle, _io, irq, soft_irq, stolen = map(int, first.split()[1:9])
    return (user + nice + system + irq + soft_irq + stolen) / os.sysconf("SC_CLK_TCK")


def _hold(client: Client, workload: Workload, num_stations: int) -> list[list[bytes]]:
    """The clicks of each station about an image that is held for it alone."""
    clicks = _clicks_by_image(workload)
    requests = []
    for station in range(num_stations):
        number = station % len(workload.images)
        handle = client.encode(workload.files[number]).handle
        asked = []
        for prompt in clicks[number]:
            request = segment_request([prompt], "apg", None, FASTEST)
            request.handle = handle
            asked.append(request.SerializeToString())
        requests.append(asked)
    return requests


def _clicks_by_image(workload: Workload) -> dict[int, list[Prompt]]:
    clicks: dict[int, list[Prompt]] = defaultdict(list)
    for number, prompt in workload.clicks:
        clicks[number].append(prompt)
    return clicks


def _click_batches(server: ServedBundle) -> tuple[float, float]:
    """(batches, jobs in them) so far, as the server's metrics tell."""
    found = _METRICS.search(server.said())
    assert found is not None, server.said()
    with urllib.request.urlopen(f"http://{found[1]}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    values = {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if family.name == "apsam_batch_size" and sample.labels.get("class") == "click"
    }
    return values.get("apsam_batch_size_count", 0.0), values.get("apsam_batch_size_sum", 0.0)


def _row(runs: Sequence[Run], expected: Masks, num_images: int) -> Row:
    shots = [shot for run in runs for shot in run.heard.shots]
    answered = [shot for shot in shots if not shot.error]
    overlaps = [iou for run in runs for iou in _overlaps(run.heard, expected, num_images)]
    num_calls = sum(run.heard.num_calls for run in runs)
    count = runs[0].num_stations
    return Row(
        name=f"{count} station{'s' if count > 1 else ''}",
        group="a click with adaptive points",
        samples=[1000 * shot.latency_s for shot in answered],
        mask_iou=MaskIou.of(overlaps) if overlaps else None,
        stages={
            stage: [1000 * shot.stages[stage] for shot in answered]
            for stage in (answered[0].stages if answered else ())
            if any(shot.stages[stage] for shot in answered)
        },
        errors=Counter(shot.error for shot in shots if shot.error),
        figures={
            "rate_per_s": float(np.median([run.rate for run in runs])),
            "slowest_station_share": min(run.slowest_share for run in runs),
            "clicks_per_batch": sum(run.jobs for run in runs) / sum(run.batches for run in runs),
            "server_cpu_ms_per_click": 1000 * sum(run.server_cpu_s for run in runs) / num_calls,
            "generator_cpu_ms_per_click": 1000 * sum(run.heard.cpu_s for run in runs) / num_calls,
            "cores_for_others": sum(r.other_cpu_s for r in runs) / sum(r.elapsed_s for r in runs),
        },
    )


def _overlaps(heard: Heard, expected: Masks, num_images: int) -> list[float]:
    """IoU of every answer with the reference; equal answers are compared once."""
    overlaps: list[float] = []
    for answer, times in heard.times.items():
        mask = mask_from(pb.Mask.FromString(heard.masks[answer]))
        right = expected[answer.station % num_images, answer.click]
        overlaps += [mask_iou(mask, right)] * times
    return overlaps


def _figures(runs: Mapping[int, Sequence[Run]], preset: str) -> list[Figure]:
    if not {FEW, MANY} <= runs.keys():
        return []
    rates = {count: [run.rate for run in runs[count]] for count in (FEW, MANY)}
    gain = ratio(rates[MANY], rates[FEW], paired=True)
    shares = [run.slowest_share for run in runs[MANY]]
    share = typical(shares)
    few, many = (float(np.median(rates[count])) for count in (FEW, MANY))
    return [
        Figure(
            key=f"stations_{MANY}_vs_{FEW}_{preset}",
            value=gain.value,
            low=gain.low,
            high=gain.high,
            detail=f"{few:.0f} and {many:.0f} clicks per second",
        ),
        Figure(
            key=f"stations_fairness_{preset}",
            value=share.value,
            low=share.low,
            high=share.high,
            detail=f"slowest station over the mean, median of {len(shares)} loops; "
            f"{min(shares):.0%} in the worst, {max(shares):.0%} in the best",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
