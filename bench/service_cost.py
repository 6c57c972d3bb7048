"""What the service itself costs: `python -m bench.service_cost --bundle BUNDLE`.

The same clicks on the same images through apsam-serve, a process of its own on this machine, and
through `apsam_serve.local` in this one, with as many threads. Either click ends with the mask, bool
[H, W], in the caller's hands. Some clicks of one side, some of the other, in an order drawn anew
each round: two processes that alternate with every click throw each other's data out of the caches,
which neither does in use. The first click of each such block comes after a pause, as an operator's,
and is in rows of its own. The goal is held against the difference of the medians of the others.
"""

from __future__ import annotations

import argparse
import random
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
from apsam_serve.contract.masks import Mask, mask_iou
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import EncodedImage, Segmenter
from apsam_serve.local import open_bundle as open_local
from apsam_serve.runtime.base import RunnerOptions
from bench.load_rows import by_stage, with_network
from bench.measure.distribution import difference
from bench.measure.document import Document, Figure, MaskIou, Row, publish
from bench.measure.options import guarded, model_at, positive
from bench.measure.rounds import told
from bench.measure.serving import ServedBundle
from bench.measure.workload import Workload, synthetic

_WARM_UP = 2
"""Blocks; by then every path has run on every image."""
_PAUSE_S = 0.05
"""Before a block: by then the threads of the library that ran before have stopped to wait for more
work on a busy core."""


@dataclass(frozen=True, kw_only=True)
class Click:
    """stages: ms; cpu_s: of this process."""

    mask: Mask
    total_ms: float
    stages: dict[str, float]
    cpu_s: float


class Clicker:
    """Clicks through one Segmenter, in the same order as everybody else's. first: of each block,
    after its pause; clicks: the others, block after block."""

    def __init__(self, segmenter: Segmenter, workload: Workload) -> None:
        self._images: list[EncodedImage] = [segmenter.encode(image) for image in workload.images]
        self._prompts = cycle(workload.clicks)
        self.first: list[Click] = []
        self.clicks: list[Click] = []

    def block(self, num_clicks: int) -> None:
        """A pause, a click, and so many more."""
        time.sleep(_PAUSE_S)
        self.first.append(self._click())
        self.clicks += [self._click() for _ in range(num_clicks)]

    def forget(self) -> None:
        """The clicks so far."""
        self.first, self.clicks = [], []

    def release(self) -> None:
        """Forget the images."""
        for image in self._images:
            image.release()

    def _click(self) -> Click:
        number, prompt = next(self._prompts)
        return _clicked(self._images[number], prompt)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of both did, as `Clicker` has it."""

    first: Sequence[Click]
    clicks: Sequence[Click]


@dataclass(frozen=True, kw_only=True)
class Found:
    """remote, local: the same clicks in the same order, `block` of them after one another;
    server_cpu_s: in their time; idle_cpu_s: in as many clicks in process alone, the server idle."""

    remote: Side
    local: Side
    block: int
    server_cpu_s: float
    idle_cpu_s: float

    @property
    def num_calls(self) -> int:
        """Of either side."""
        return len(self.remote.first) + len(self.remote.clicks)


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where the server does not start."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=Path("tiny"), help="or a preset (%(default)s)")
    add("--threads", type=positive, default=num_cpus(), help="of either (%(default)s)")
    add("--rounds", type=positive, default=60, help="blocks of either (%(default)s)")
    add("--clicks", type=positive, default=10, help="of a block, after its first (%(default)s)")
    add("--json", type=Path, help="write the document here too")
    options = parser.parse_args(argv)
    model = model_at(options.bundle)
    found = measure(
        model.bundle, threads=options.threads, rounds=options.rounds, block=options.clicks
    )
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    document = Document(
        benchmark="service_cost",
        settings={**settings, **vars(model)},
        rows=rows_of(found, preset=model.preset),
        figures=figures_of(found, preset=model.preset),
    )
    publish(document, json_path=options.json)
    return 0


def measure(bundle: Path, *, threads: int, rounds: int, block: int) -> Found:
    """Raises RuntimeError where the server does not start."""
    draw = random.Random(0)
    workload = synthetic(num_images=3, clicks_per_image=3)
    with (
        ServedBundle(bundle, "--threads", str(threads)) as server,
        Client(server.address) as client,
    ):
        segmenter = open_local(bundle, options=RunnerOptions(threads=threads))
        remote, local = sides = Clicker(client, workload), Clicker(segmenter, workload)
        for side in sides:
            for _ in range(_WARM_UP):
                side.block(block)
            side.forget()
        before_s = server.cpu_s()
        for _ in told(range(rounds), "both in turns"):
            for side in draw.sample(sides, len(sides)):
                side.block(block)
        between_s = server.cpu_s()
        first, clicks = local.first, local.clicks
        local.forget()
        for _ in told(range(rounds), "one alone"):
            local.block(block)
        after_s = server.cpu_s()
        remote.release()
        segmenter.close()
    return Found(
        remote=Side(first=remote.first, clicks=remote.clicks),
        local=Side(first=first, clicks=clicks),
        block=block,
        server_cpu_s=between_s - before_s,
        idle_cpu_s=after_s - between_s,
    )


def rows_of(found: Found, *, preset: str) -> list[Row]:
    """Both ways, and the first clicks after a pause."""
    remote, local = found.remote, found.local
    pairs = zip((*remote.first, *remote.clicks), (*local.first, *local.clicks), strict=True)
    cpu_ms = {
        "server_cpu_ms": 1000 * found.server_cpu_s / found.num_calls,
        "client_cpu_ms": _cpu_ms(remote.clicks),
        "idle_server_cpu_ms": 1000 * found.idle_cpu_s / found.num_calls,
    }
    group, paused = f"click, {preset}", f"click after a pause, {preset}"
    return [
        Row(
            name="through gRPC",
            group=group,
            samples=_ms(remote.clicks),
            mask_iou=MaskIou.of([mask_iou(a.mask, b.mask) for a, b in pairs]),
            stages=_stages(remote.clicks),
            figures=cpu_ms,
            note="mask IoU with the click in process; idle_server_cpu_ms: what the server takes "
            "while a click runs in process; cpu_ms per click",
        ),
        Row(
            name="in process",
            group=group,
            samples=_ms(local.clicks),
            stages=_stages(local.clicks),
            figures={"client_cpu_ms": _cpu_ms(local.clicks)},
        ),
        *(
            Row(name=name, group=paused, samples=_ms(side.first), stages=_stages(side.first))
            for name, side in (("through gRPC", remote), ("in process", local))
        ),
    ]


def figures_of(found: Found, *, preset: str) -> list[Figure]:
    """Differences of the medians."""
    remote, local = found.remote, found.local
    cpu_ms = (
        1000 * found.server_cpu_s / found.num_calls + _cpu_ms(remote.clicks) - _cpu_ms(local.clicks)
    )
    return [
        _cost(
            f"service_cost_ms_{preset}",
            remote.clicks,
            local.clicks,
            block=found.block,
            also=f"; {cpu_ms:.2f} ms more processor time",
        ),
        _cost(f"service_cost_after_pause_ms_{preset}", remote.first, local.first, block=1),
    ]


def _cost(
    key: str, remote: Sequence[Click], local: Sequence[Click], *, block: int, also: str = ""
) -> Figure:
    over, under = _ms(remote), _ms(local)
    more = difference(over, under, paired=True, block=block)
    return Figure(
        key=key,
        value=more.value,
        low=more.low,
        high=more.high,
        detail=f"{np.median(over):.2f} ms through gRPC, {np.median(under):.2f} ms in process{also}",
    )


def _clicked(image: EncodedImage, prompt: Prompt) -> Click:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    (answer,) = image.segment([prompt])
    total_ms = 1000 * (time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF)
    stages = {stage: 1000 * seconds for stage, seconds in answer.timings_s.items()}
    return Click(
        mask=answer.mask,
        total_ms=total_ms,
        stages=with_network(stages, total_ms),
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _stages(clicks: Sequence[Click]) -> dict[str, list[float]]:
    return by_stage([one.stages for one in clicks])


def _ms(clicks: Sequence[Click]) -> list[float]:
    return [one.total_ms for one in clicks]


def _cpu_ms(clicks: Sequence[Click]) -> float:
    return 1000 * sum(one.cpu_s for one in clicks) / len(clicks)


if __name__ == "__main__":
    sys.exit(main())
