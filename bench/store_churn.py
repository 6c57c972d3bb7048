"""The store alone: how long its operations take, by the number of held images.

    python -m bench.store_churn [--entries 64,256,1024,10000]

One thread, payloads of nothing. Each operation is timed by itself, with and without
`check_integrity` after it, which tests call and the service does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from apsam_serve.engine.store import Store
from bench.measure.distribution import Distribution
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import above_zero, guarded, positives
from bench.measure.rounds import told

_OWNER, _GROUP = "anonymous", "model"
_BYTES = 1
_MOST = 20_000
"""Operations per row."""


class Churn:
    """A full store and the operations on it, each of which leaves it full. One that expires has one
    image due each time, the worst that time can do."""

    def __init__(self, num_entries: int, *, seed: int = 0) -> None:
        self.now_s = 0
        self.store: Store[None] = Store(
            budget_bytes=num_entries * _BYTES, ttl_s=num_entries, clock=lambda: self.now_s
        )
        self._draw = random.Random(seed)
        self._handles: list[str] = []
        for number in range(num_entries):
            self.now_s = number
            self._handles.append(self._create())

    def lease(self) -> None:
        """Use an image and stop, as a click does."""
        store, handle = self.store, self._draw.choice(self._handles)
        store.end_lease(store.lease(handle, _OWNER))

    def replace(self) -> None:
        """Delete an image and hold another one, as a station does."""
        place = self._draw.randrange(len(self._handles))
        self.store.delete(self._handles[place], _OWNER)
        self._handles[place] = self._create()

    def evict(self) -> None:
        """Hold an image, for which the one used longest ago has to go."""
        self._create()

    def expire(self) -> None:
        """Hold an image when another one's time is up."""
        self.now_s += 1
        self._create()

    def _create(self) -> str:
        reservation = self.store.reserve(_BYTES)
        return self.store.commit(reservation, None, owner=_OWNER, group=_GROUP)


OPERATIONS: dict[str, Callable[[Churn], None]] = {
    "lease": Churn.lease,
    "replace": Churn.replace,
    "evict": Churn.evict,
    "expire": Churn.expire,
}


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--entries", type=positives, default="64,256,1024,10000", help="(%(default)s)")
    add("--seconds", type=above_zero, default=0.5, help="at most, per row (%(default)s)")
    add("--json", type=Path)
    options = parser.parse_args(argv)
    cases = list(product((False, True), options.entries, OPERATIONS))
    rows = [
        _row(name, size, checked=checked, seconds=options.seconds)
        for checked, size, name in told(cases, "operations")
    ]
    document = Document(
        benchmark="store_churn",
        settings={"entries": options.entries, "seconds": options.seconds},
        rows=rows,
        figures=[_figure(rows)],
    )
    publish(document, json_path=options.json)
    return 0


def churn(name: str, num_entries: int, *, checked: bool, seconds: float) -> list[float]:
    """Microseconds of each operation of that name, for at most so many seconds."""
    operation, held = OPERATIONS[name], Churn(num_entries)
    taken: list[float] = []
    ends_s = time.perf_counter() + seconds
    while len(taken) < _MOST and (not taken or time.perf_counter() < ends_s):
        started = time.perf_counter_ns()
        operation(held)
        if checked:
            held.store.check_integrity()
        taken.append((time.perf_counter_ns() - started) / 1000)
    held.store.check_integrity()
    return taken


def _row(name: str, num_entries: int, *, checked: bool, seconds: float) -> Row:
    taken = churn(name, num_entries, checked=checked, seconds=seconds)
    return Row(
        name=f"{name}, {num_entries} images",
        group="with check_integrity" if checked else "as the service runs it",
        unit="us",
        samples=taken,
        figures={"rate_per_s": 1e6 * len(taken) / sum(taken)},
    )


def _figure(rows: Sequence[Row]) -> Figure:
    """Of the rows without the check."""
    unchecked = rows[: len(rows) // 2]
    slowest = max(unchecked, key=lambda row: Distribution.of(row.samples).p99)
    return Figure(
        key="store_p99_us", value=Distribution.of(slowest.samples).p99, detail=slowest.name
    )


if __name__ == "__main__":
    sys.exit(main())
