"""Which of several servers to ask next."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from apsam_serve.errors import InvalidInputError

_FIRST_AWAY_S, _MAX_AWAY_S = 5.0, 60.0
"""How long a server that did not answer is asked last; doubles each time that it is silent again,
because an address that swallows packets costs each try three seconds."""


class Routes:
    """Round robin over addresses; threads may share it. now: clock in seconds."""

    def __init__(
        self, addresses: Sequence[str], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        if not addresses or not all(addresses):
            raise InvalidInputError(
                f"servers {list(addresses)} have no address; give HOST:PORT of at least one"
            )
        self.addresses = tuple(dict.fromkeys(addresses))
        self._now = now
        self._lock = threading.Lock()
        self._turn = 0
        self._away_until_s: dict[str, float] = {}
        self._num_silent: Counter[str] = Counter()
        self._any_answered = False

    @property
    def only_one_and_known(self) -> bool:
        """Whether there is one address, and it has answered before."""
        return len(self.addresses) == 1 and self._any_answered

    def in_turn(self) -> list[str]:
        """Every address once: those that answer first, beginning one further each time."""
        with self._lock:
            turn, now_s = self._turn, self._now()
            self._turn = (turn + 1) % len(self.addresses)
            ordered = [*self.addresses[turn:], *self.addresses[:turn]]
            return sorted(ordered, key=lambda one: self._away_until_s.get(one, 0.0) > now_s)

    def silent(self, address: str) -> None:
        """It did not answer."""
        with self._lock:
            self._num_silent[address] += self._away_until_s.get(address, 0.0) <= self._now()
            doubled_s = _FIRST_AWAY_S * 2 ** min(self._num_silent[address] - 1, 10)
            self._away_until_s[address] = self._now() + min(_MAX_AWAY_S, doubled_s)

    def answered(self, address: str) -> None:
        """It is there."""
        self._any_answered = True
        with self._lock:
            self._away_until_s.pop(address, None)
            del self._num_silent[address]
