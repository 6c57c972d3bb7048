"""Resident memory of the service, and what it goes to.

    python -m bench.memory [--bundle BUNDLE] [--clicks 1000] [-- OPTIONS OF apsam-serve]

A fresh server is asked for clicks, then for images that are forgotten again, then it holds many,
and at last gets the largest image that it takes. The exit code is 1 where the process has torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Client, file_bytes
from apsam_serve.contract.prompts import Prompt
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import guarded, model_at, positive
from bench.measure.rounds import told
from bench.measure.serving import ServedBundle
from bench.measure.workload import Workload, synthetic
from bench.start_steps import Step, steps

_MB = 1e6
_UNWANTED = "torch"
_MASKS = 4
"""Kept per image unless the server is told otherwise; their room is resident once it is used."""


@dataclass(frozen=True, kw_only=True)
class State:
    """resident, peak: bytes, now and at most so far."""

    name: str
    resident: int
    peak: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """states: in order of time, the large image last; unwanted: libraries of torch in the process;
    held_bytes: of one held image, as the service reports them; num_held: of them."""

    states: Sequence[State]
    unwanted: Sequence[str]
    held_bytes: int
    num_held: int

    @property
    def steady(self) -> Sequence[State]:
        """Without the large image."""
        return self.states[:-1]

    @property
    def growth_per_held(self) -> float:
        """Resident bytes that each held image added."""
        before, after = self.states[-3], self.states[-2]
        return (after.resident - before.resident) / self.num_held


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=Path("tiny"), help="or a preset (%(default)s)")
    add("--clicks", type=positive, default=1000, help="(%(default)s)")
    add("--encodes", type=positive, default=50, help="(%(default)s)")
    add("--held", type=positive, default=100, help="images (%(default)s)")
    add("--large-side", type=positive, default=4896, help="pixels (%(default)s)")
    add("--json", type=Path)
    add("serve", nargs="*", help="options of apsam-serve, after --")
    options = parser.parse_args(argv)
    model = model_at(options.bundle)
    found = observe(
        model.bundle,
        options.serve,
        num_clicks=options.clicks,
        num_encodes=options.encodes,
        num_held=options.held,
        large_side=options.large_side,
    )
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    document = Document(
        benchmark="memory",
        settings={**settings, **vars(model)},
        rows=[*_state_rows(found), *_step_rows(steps(model.bundle))],
        figures=[_figure(found, model.preset)],
    )
    publish(document, json_path=options.json)
    return 1 if found.unwanted else 0


def observe(
    bundle: Path,
    serve: Sequence[str],
    *,
    num_clicks: int,
    num_encodes: int,
    num_held: int,
    large_side: int,
) -> Found:
    """What a server takes in each state."""
    workload = synthetic(num_images=4)
    states: list[State] = []
    with ServedBundle(bundle, *serve) as server, Client(server.address) as client:

        def note(name: str, text: str = "") -> None:
            rss, peak = server.rss_bytes(), server.peak_bytes()
            states.append(State(name=name, resident=rss, peak=peak, note=text))

        note("after the start")
        _click(client, workload, num_clicks)
        note(f"after {num_clicks} clicks")
        for number in told(range(num_encodes), "images, each forgotten"):
            client.encode(workload.files[number % len(workload.files)]).release()
        note(f"after {num_encodes} images more, each forgotten")
        held = [
            client.encode(workload.files[number % len(workload.files)])
            for number in told(range(num_held), "images to hold")
        ]
        for image in held:
            image.segment([Prompt.click(image.width / 2, image.height / 2)] * _MASKS)
        note(f"holding {num_held} images and {_MASKS} masks of each")
        held_bytes = held[0].info().held_bytes
        for image in held:
            image.release()
        large = file_bytes(_large(workload.images[0], large_side))
        client.encode(large).release()
        note(
            f"after an image of {large_side} x {large_side} pixels",
            f"a PNG of {len(large) / _MB:.1f} MB; the peak is while it is decoded",
        )
        unwanted = _mapped(server.pid, _UNWANTED)
    return Found(states=states, unwanted=unwanted, held_bytes=held_bytes, num_held=num_held)


def _click(client: Client, workload: Workload, num_clicks: int) -> None:
    images = [client.encode(data) for data in workload.files]
    for turn in told(range(num_clicks), "clicks"):
        number, prompt = workload.clicks[turn % len(workload.clicks)]
        images[number].segment([prompt])
    for image in images:
        image.release()


def _large(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    enlarged = cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST)
    return enlarged.astype(np.uint8, copy=False)


def _mapped(pid: int, word: str) -> list[str]:
    """Files in a process's memory whose path holds a word."""
    lines = Path(f"/proc/{pid}/maps").read_text("utf-8").splitlines()
    paths = {line[line.index("/") :] for line in lines if "/" in line}
    return sorted(path for path in paths if word in Path(path).name or f"/{word}/" in path)


def _state_rows(found: Found) -> list[Row]:
    rows = [
        Row(
            name=state.name,
            group="resident memory of apsam-serve",
            unit="MB",
            samples=[state.resident / _MB],
            figures={"peak_mb": state.peak / _MB},
            note=state.note,
        )
        for state in found.states
    ]
    held = Row(
        name="one held image",
        group="resident memory of apsam-serve",
        unit="MB",
        samples=[found.growth_per_held / _MB],
        figures={"reported_mb": found.held_bytes / _MB},
        note="reported: what the store's budget counts",
    )
    return [*rows, held]


def _step_rows(taken: Sequence[Step]) -> list[Row]:
    before = [0, *(step.resident_bytes for step in taken)]
    return [
        Row(
            name=step.name,
            group="added by the steps of a start",
            unit="MB",
            samples=[(step.resident_bytes - earlier) / _MB],
        )
        for step, earlier in zip(taken, before, strict=False)
    ]


def _figure(found: Found, preset: str) -> Figure:
    highest = max(found.steady, key=lambda state: state.resident)
    torch = ", ".join(found.unwanted) or "no torch"
    large = found.states[-1]
    return Figure(
        key=f"resident_mb_{preset}",
        value=highest.resident / _MB,
        detail=f"of one run, {highest.name}; {torch} in the process; "
        f"peak {large.peak / _MB:.0f} MB with the large image",
    )


if __name__ == "__main__":
    sys.exit(main())
