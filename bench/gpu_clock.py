"""Times by a GPU's own events, beside the host's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from bench.measure.rounds import interleaved

Samples = dict[str, list[float]]
"""ms of every call, by name, in order of time."""


def device_ms(work: Callable[[], object], *, device: str, num_runs: int = 1) -> float:
    """ms of one of so many runs, queued one behind the other on PyTorch's current stream: between
    two events, and it waits for the second. On "cpu", where nothing is queued, by the host's clock.
    """
    if device == "cpu":
        started = time.perf_counter()
        for _ in range(num_runs):
            work()
        return 1000 * (time.perf_counter() - started) / num_runs
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    begin.record()
    for _ in range(num_runs):
        work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / num_runs


def in_turns(
    cases: Mapping[str, Callable[[], float]], *, rounds: int, warm_up: int = 2
) -> tuple[Samples, Samples]:
    """(what the cases return, the host's clock around them), by `measure.rounds.interleaved`."""
    returned: Samples = {name: [] for name in cases}

    def keeping(name: str) -> Callable[[], None]:
        return lambda: returned[name].append(cases[name]())

    around = interleaved({name: keeping(name) for name in cases}, rounds=rounds, warm_up=warm_up)
    return {name: values[warm_up:] for name, values in returned.items()}, around
