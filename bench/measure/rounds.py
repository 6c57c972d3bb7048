"""Several things in turns, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from apsam_serve.progress import Progress

T = TypeVar("T")


def told(items: Collection[T], label: str) -> Iterator[T]:
    """The items one by one, and how far that is on a terminal: drawn between them, never while one
    is measured."""
    with Progress(label, calm=True) as bar:
        for number, item in enumerate(items):
            bar.show(number / len(items), f"{number} of {len(items)}")
            yield item
        bar.show(1, f"{len(items)} of {len(items)}")


def interleaved(
    cases: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    warm_up: int = 2,
    seed: int = 0,
    pause_s: float = 0.0,
) -> dict[str, list[float]]:
    """ms of every call, by name: each case once a round, in an order drawn anew for each round (the
    same for the same seed). The calls of a round are pairs for `distribution.ratio`.

    pause_s: before every call; threads of the library that ran before may still wait for work on a
    busy core.
    """
    draw = random.Random(seed)
    found: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    for number in told(range(-warm_up, rounds), "rounds"):
        draw.shuffle(order)
        for name in order:
            time.sleep(pause_s)
            started = time.perf_counter()
            cases[name]()
            elapsed = 1000 * (time.perf_counter() - started)
            if number >= 0:
                found[name].append(elapsed)
    return found
