"""What the service itself costs: `python -m bench.service_cost --bundle BUNDLE`.

The same clicks on the same images through apsam-serve, a process of its own on this machine, and
through `apsam_serve.local` in this one, in turns, with as many threads. Either click ends with the
mask, bool [H, W], in the caller's hands. The goal is held against the difference of the medians.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from apsam_serve.client import Client
from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.manifest import open_bundle
from apsam_serve.contract.masks import Mask, mask_iou
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import EncodedImage, Segmenter
from apsam_serve.local import open_bundle as open_local
from apsam_serve.runtime.base import RunnerOptions
from bench.measure.distribution import ratio
from bench.measure.document import Document, Figure, MaskIou, Row, publish
from bench.measure.rounds import interleaved
from bench.measure.serving import ServedBundle, bundle_or_tiny
from bench.measure.workload import Workload, synthetic

NETWORK = "network"
"""What the service's stages leave of the caller's time; in process, that of the calls."""
_WARM_UP = 12
"""Rounds; from then on every path has run on every image."""


@dataclass(frozen=True, kw_only=True)
class Click:
    """stages: ms; cpu_s: of this process."""

    mask: Mask
    total_ms: float
    stages: dict[str, float]
    cpu_s: float


class Clicker:
    """Clicks through one Segmenter, in the same order as everybody else's."""

    def __init__(self, segmenter: Segmenter, workload: Workload) -> None:
        self._images: list[EncodedImage] = [segmenter.encode(image) for image in workload.images]
        self._clicks = cycle(workload.clicks)
        self.clicks: list[Click] = []

    def click(self) -> None:
        """The next one."""
        number, prompt = next(self._clicks)
        self.clicks.append(_clicked(self._images[number], prompt))

    def release(self) -> None:
        """Forget the images."""
        for image in self._images:
            image.release()


@dataclass(frozen=True, kw_only=True)
class Found:
    """remote, local: of one round each, in the same order; server_cpu_s: in these rounds;
    idle_cpu_s: in as many clicks in process alone, with the server idle."""

    remote: Sequence[Click]
    local: Sequence[Click]
    server_cpu_s: float
    idle_cpu_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where the server does not start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="default: that of the tiny preset")
    parser.add_argument("--threads", type=int, default=num_cpus(), help="of either (%(default)s)")
    parser.add_argument("--rounds", type=int, default=400, help="clicks of either (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the document here too")
    options = parser.parse_args(argv)
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds}: expected 2 or more")
    bundle = bundle_or_tiny(options.bundle)
    try:
        found = measure(bundle, threads=options.threads, rounds=options.rounds)
    except RuntimeError as error:
        print(f"service_cost: error: {error}", file=sys.stderr)
        return 1
    preset = open_bundle(bundle).manifest.model.preset
    settings = {"bundle": bundle, "threads": options.threads, "rounds": options.rounds}
    document = Document(
        benchmark="service_cost",
        settings={**settings, "preset": preset},
        rows=rows_of(found, group=f"click, {preset}"),
        figures=[cost_of(found)],
    )
    publish(document, json_path=options.json)
    return 0


def measure(bundle: Path, *, threads: int, rounds: int) -> Found:
    """Raises RuntimeError where the server does not start."""
    workload = synthetic(num_images=3, clicks_per_image=3)
    with (
        ServedBundle(bundle, "--threads", str(threads)) as server,
        Client(server.address) as client,
    ):
        segmenter = open_local(bundle, options=RunnerOptions(threads=threads))
        remote, local = Clicker(client, workload), Clicker(segmenter, workload)
        cases = {"remote": remote.click, "local": local.click}
        interleaved(cases, rounds=_WARM_UP)
        before_s = server.cpu_s()
        interleaved(cases, rounds=rounds, warm_up=0)
        between_s = server.cpu_s()
        interleaved({"local": local.click}, rounds=rounds, warm_up=0)
        after_s = server.cpu_s()
        remote.release()
        segmenter.close()
    measured = slice(len(remote.clicks) - rounds, len(remote.clicks))
    return Found(
        remote=remote.clicks[measured],
        local=local.clicks[measured],
        server_cpu_s=between_s - before_s,
        idle_cpu_s=after_s - between_s,
    )


def rows_of(found: Found, *, group: str) -> list[Row]:
    """Both ways, and each round's difference."""
    num = len(found.remote)
    pairs = list(zip(found.remote, found.local, strict=True))
    return [
        Row(
            name="through gRPC",
            group=group,
            samples=[one.total_ms for one in found.remote],
            mask_iou=MaskIou.of([mask_iou(a.mask, b.mask) for a, b in pairs]),
            stages=_stages(found.remote),
            figures={
                "server_cpu_ms": 1000 * found.server_cpu_s / num,
                "client_cpu_ms": _cpu_ms(found.remote),
                "idle_server_cpu_ms": 1000 * found.idle_cpu_s / num,
            },
            note="mask IoU with the click in process; idle_server_cpu_ms: what the server takes "
            "while a click runs in process; cpu_ms per click",
        ),
        Row(
            name="in process",
            group=group,
            samples=[one.total_ms for one in found.local],
            stages=_stages(found.local),
            figures={"client_cpu_ms": _cpu_ms(found.local)},
        ),
        Row(
            name="difference in each round",
            group=group,
            samples=[a.total_ms - b.total_ms for a, b in pairs],
        ),
    ]


def cost_of(found: Found) -> Figure:
    """The difference of the medians. Its interval is that of their ratio, in pairs, times the
    median in process."""
    remote = [one.total_ms for one in found.remote]
    local = [one.total_ms for one in found.local]
    base = float(np.median(local))
    times = ratio(remote, local, paired=True)
    cpu_ms = 1000 * found.server_cpu_s / len(remote) + _cpu_ms(found.remote) - _cpu_ms(found.local)
    return Figure(
        key="service_cost_ms",
        value=float(np.median(remote)) - base,
        low=(times.low - 1) * base,
        high=(times.high - 1) * base,
        detail=f"{np.median(remote):.2f} ms through gRPC, {base:.2f} ms in process; "
        f"{cpu_ms:.2f} ms more processor time",
    )


def _clicked(image: EncodedImage, prompt: Prompt) -> Click:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    (answer,) = image.segment([prompt])
    total_ms = 1000 * (time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF)
    stages = {stage: 1000 * seconds for stage, seconds in answer.timings_s.items() if seconds}
    return Click(
        mask=answer.mask,
        total_ms=total_ms,
        stages={**stages, NETWORK: total_ms - sum(stages.values())},
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _stages(clicks: Sequence[Click]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for one in clicks for name in one.stages)
    return {name: [one.stages.get(name, 0.0) for one in clicks] for name in names}


def _cpu_ms(clicks: Sequence[Click]) -> float:
    return 1000 * sum(one.cpu_s for one in clicks) / len(clicks)


if __name__ == "__main__":
    sys.exit(main())
