"""Whether the device still works: after a fault the engine tries for itself, and that decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from apsam_serve.errors import ApsamError, InvalidInputError


class Pulse:
    """Healthy until a trial fails, and again from the first that works. A fault alone decides
    nothing: it may be one image's. One thread calls it. faults: reason -> failures."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.healthy = True
        self.suspected = False
        self._listeners: list[Callable[[bool], None]] = []

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Be told when health changes."""
        self._listeners.append(listener)

    def note(self, faults: Sequence[BaseException]) -> None:
        """Jobs of a batch failed. Callers' own mistakes are no faults."""
        for fault in faults:
            if not isinstance(fault, InvalidInputError):
                reason = fault.reason if isinstance(fault, ApsamError) else ApsamError.reason
                self.faults[reason] += 1
                self.suspected = True

    def tried(self, works: bool) -> None:
        """What came of a trial."""
        changed = works != self.healthy
        self.healthy, self.suspected = works, not works
        if changed:
            for listener in self._listeners:
                listener(works)
