"""Progress for people: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

_QUIET_S = 2.0
"""Least time between two plain lines."""


class Progress:
    """Shows a share from 0 to 1 with a short message, on standard error. quiet: shows nothing, for
    all processes but one."""

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self._label = label
        self._quiet = quiet
        self._warned = False
        self._bar: tqdm[None] | None = None
        self._printed = -1
        self._next_s = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self._quiet:
            form = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
            self._bar = tqdm(total=1.0, desc=self._label, bar_format=form)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, share: float, message: str) -> None:
        """Report `share` of the work as done."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(message, refresh=False)
            self._bar.update(min(1.0, share) - self._bar.n)
            return
        elapsed = time.monotonic() - self._started
        due = elapsed >= self._next_s or share >= 1
        if int(share * 10) > self._printed and due:
            self._printed = int(share * 10)
            self._next_s = elapsed + _QUIET_S
            print(f"{self._label}: {share:4.0%} {elapsed:5.0f} s  {message}", file=sys.stderr)

    def warn_once(self, message: str) -> None:
        """Say something for the attention of whoever watches; only the first message is shown."""
        if message and not self._warned and not self._quiet:
            self._warned = True
            tqdm.write(f"{self._label}: {message}", file=sys.stderr)
