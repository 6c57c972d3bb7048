"""Progress for people: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich import progress as bars

_PAUSE_S = 0.5
"""Least time between two drawings in `show`."""


class Progress:
    """Shows a share from 0 to 1 with a short message, on standard error. Bars of work within work
    stand below each other.

    quiet: shows nothing, for all processes but one; calm: draws in `show` alone, never in between,
    for benchmarks, whose measurements no thread must disturb.
    """

    def __init__(self, label: str, *, quiet: bool = False, calm: bool = False) -> None:
        self._label = label
        self._quiet = quiet
        self._calm = calm
        self._warned = False
        self._bars: bars.Progress | None = None
        self._task: bars.TaskID | None = None
        self._drawn_s = 0.0

    def __enter__(self) -> Progress:
        if not self._quiet and is_shown():
            self._bars = _SCREEN.open(calm=self._calm)
            self._task = self._bars.add_task(self._label, total=None, message="")
            self._bars.refresh()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.stop_task(self._task)
            _SCREEN.close(self._task)
        self._bars = None

    def show(self, share: float | None, message: str) -> None:
        """Report `share` of the work as done, or None for work whose length nobody knows."""
        if self._bars is None or self._task is None:
            return
        done = 0.0 if share is None else min(1.0, share)
        total = None if share is None else 1.0
        self._bars.update(self._task, completed=done, total=total, message=message)
        if time.monotonic() - self._drawn_s >= _PAUSE_S or done == 1:
            self._bars.refresh()
            self._drawn_s = time.monotonic()

    def warn_once(self, message: str) -> None:
        """Say something for the attention of whoever watches; only the first message is shown."""
        if message and not self._warned and not self._quiet:
            self._warned = True
            print(f"{self._label}: {message}", file=sys.stderr)


def is_shown() -> bool:
    """Whether somebody watches: never a bar in a log. Without rich, which an install that only
    serves lacks, there is none either."""
    return sys.stderr.isatty() and importlib.util.find_spec("rich") is not None


class _Screen:
    """The one terminal: it is drawn on while any bar is open, and what is printed to standard error
    in the meantime goes above the bars."""

    def __init__(self) -> None:
        self._bars: bars.Progress | None = None
        self._num_open = 0

    def open(self, *, calm: bool) -> bars.Progress:
        """Where to add a bar; calm: see `Progress`, as the outermost bar has it."""
        if self._bars is None:
            self._bars = _new_bars(calm=calm)
            self._bars.start()
        self._num_open += 1
        return self._bars

    def close(self, task: bars.TaskID) -> None:
        """Take an inner bar away; the outermost one stays to be read."""
        assert self._bars is not None
        self._num_open -= 1
        if self._num_open:
            self._bars.remove_task(task)
        else:
            self._bars.stop()
            self._bars = None


_SCREEN = _Screen()


def _new_bars(*, calm: bool) -> bars.Progress:
    from rich import progress as bars  # not on servers, and not before a bar is drawn
    from rich.console import Console
    from rich.table import Column

    # The message is cut at the terminal's edge: a bar that needs two lines cannot be drawn over.
    message = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=24),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("<", markup=False),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[message]}", markup=False, table_column=message),
        console=Console(stderr=True),
        auto_refresh=not calm,
        redirect_stdout=False,  # else what is piped would come out on standard error
        refresh_per_second=5,
        speed_estimate_period=1800,  # training says something once in minutes
        expand=True,
    )
