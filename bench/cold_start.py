"""From starting `apsam-serve` to SERVING, and to the first answered click.

    python -m bench.cold_start [--bundle BUNDLE] [-- OPTIONS OF apsam-serve]

Each start is a fresh process. One start goes before, so that files are in the system's cache and
Python's modules are compiled, as they are on a station that has been started before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apsam_serve.client import Client
from apsam_serve.contract.masks import mask_iou
from apsam_serve.local import open_bundle
from bench.measure.distribution import typical
from bench.measure.document import Document, Figure, MaskIou, Row, publish
from bench.measure.options import guarded, model_at, positive
from bench.measure.rounds import told
from bench.measure.serving import ServedBundle
from bench.measure.workload import synthetic
from bench.start_steps import Step, import_ms, steps


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds since the process was started. iou: of the first click's mask with the one that this
    process computes."""

    serving_s: float
    first_click_s: float
    iou: float


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=Path("tiny"), help="or a preset (%(default)s)")
    add("--rounds", type=positive, default=10, help="starts (%(default)s)")
    add("--json", type=Path)
    add("serve", nargs="*", help="options of apsam-serve, after --")
    options = parser.parse_args(argv)
    model = model_at(options.bundle)
    found = starts(model.bundle, options.serve, rounds=options.rounds)
    taken = [steps(model.bundle) for _ in told(range(options.rounds), "steps of starts")]
    rows = [*_start_rows(found), *_step_rows(taken), _import_row()]
    serving_s = [one.serving_s for one in found]
    median = typical(serving_s)
    figure = Figure(
        key=f"cold_start_s_{model.preset}",
        value=median.value,
        low=median.low,
        high=median.high,
        detail=f"median of {len(found)} starts, {min(serving_s):.2f} to {max(serving_s):.2f} s, "
        "files in the cache",
    )
    document = Document(
        benchmark="cold_start",
        settings={**vars(model), "rounds": options.rounds, "serve": options.serve},
        rows=rows,
        figures=[figure],
    )
    publish(document, json_path=options.json)
    return 0


def starts(bundle: Path, serve: Sequence[str], *, rounds: int) -> list[Start]:
    """So many starts after one that is not counted, each until its first click is answered."""
    workload = synthetic(num_images=1, clicks_per_image=1)
    ((_, prompt),) = workload.clicks
    local = open_bundle(bundle)
    (expected,) = local.encode(workload.images[0]).segment([prompt])
    local.close()
    found = []
    for _ in told(range(1 + rounds), "starts"):
        with ServedBundle(bundle, *serve) as server, Client(server.address) as client:
            entered = time.perf_counter()
            if not client.is_serving():
                raise RuntimeError(f"{server.address} announced itself and is not SERVING")
            asked_s = time.perf_counter() - entered
            with client.encode(workload.files[0]) as image:
                (answer,) = image.segment([prompt])
            clicked_s = time.perf_counter() - entered
            found.append(
                Start(
                    serving_s=server.ready_s + asked_s,
                    first_click_s=server.ready_s + clicked_s,
                    iou=mask_iou(answer.mask, expected.mask),
                )
            )
    return found[1:]


def _start_rows(found: Sequence[Start]) -> list[Row]:
    group = "apsam-serve"
    return [
        Row(
            name="to SERVING, as health answers",
            group=group,
            unit="s",
            samples=[one.serving_s for one in found],
            note="the health call is part of it, a new connection included",
        ),
        Row(
            name="to the first answered click",
            group=group,
            unit="s",
            samples=[one.first_click_s for one in found],
            mask_iou=MaskIou.of([one.iou for one in found]),
            note="the image is sent and encoded first",
        ),
    ]


def _step_rows(taken: Sequence[Sequence[Step]]) -> list[Row]:
    return [
        Row(
            name=same[0].name,
            group="steps of a start",
            samples=[1000 * step.seconds for step in same],
            figures={"resident_mb": float(np.median([s.resident_bytes for s in same])) / 1e6},
        )
        for same in zip(*taken, strict=True)
    ]


def _import_row() -> Row:
    spent = import_ms()
    return Row(
        name="all imports",
        group="imports by package, one run under -X importtime",
        samples=[sum(spent.values())],
        figures={f"{package}_ms": spent[package] for package in list(spent)[:8]},
    )


if __name__ == "__main__":
    sys.exit(main())
