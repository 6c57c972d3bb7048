"""One call as the engine sees it."""

from __future__ import annotations

from dataclasses import dataclass

ANONYMOUS = "anonymous"
"""The identity of every caller of a server without client certificates."""


@dataclass(kw_only=True, eq=False)
class Call:
    """owner: the identity that owns what the call creates, and alone may use it; station: who takes
    turns, and has a share of the queue: the identity, or the connection of who has none;
    deadline_s: on the clock of time.monotonic; gone: set by the service once nobody waits for the
    answer: what has not started then never starts."""

    owner: str = ANONYMOUS
    station: str = ""
    deadline_s: float | None = None
    gone: bool = False
