"""Accounts for the encoded images that are held: a byte budget, leases, age.

Pure bookkeeping over opaque payloads; it never computes a size or touches a tensor. One thread
calls it. Room is reserved before an image is encoded, so that the budget holds at every moment.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from apsam_serve.errors import HandleGoneError, OverloadedError

P = TypeVar("P")

RETRY_AFTER_S = 0.1
"""What a caller is told when everything held is in use: leases last as long as one decode."""
_GONE = {
    "UNKNOWN": "is unknown to this server",
    "EXPIRED": "expired",
    "EVICTED": "was evicted to make room for other images",
    "RELEASED": "was released",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Reservation:
    """Room for one image that is being encoded."""

    num_bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Lease(Generic[P]):
    """A payload in use: neither evicted nor expired until the lease is returned."""

    handle: str
    payload: P


@dataclass(kw_only=True, eq=False)
class _Entry(Generic[P]):
    payload: P
    num_bytes: int
    expires_s: float
    leases: int = 0
    released: bool = False


class Store(Generic[P]):
    """Holds payloads by handle. `clock` returns seconds; `new_handle` never repeats itself.

    `events` counts commits, hits, misses and each way of leaving, for the metrics.
    """

    def __init__(
        self,
        *,
        budget_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        new_handle: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        max_gone: int = 4096,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.ttl_s = ttl_s
        self.events: Counter[str] = Counter()
        self._clock = clock
        self._new_handle = new_handle
        self._max_gone = max_gone
        self._entries: OrderedDict[str, _Entry[P]] = OrderedDict()  # least recently used first
        self._gone: OrderedDict[str, str] = OrderedDict()  # handle -> reason, oldest first
        self._reservations: set[Reservation] = set()
        self._leases: set[Lease[P]] = set()
        self._held_bytes = 0
        self._reserved_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """Bytes of all entries."""
        return self._held_bytes

    @property
    def reserved_bytes(self) -> int:
        """Bytes of all open reservations."""
        return self._reserved_bytes

    def reserve(self, num_bytes: int) -> Reservation:
        """Make room, evicting what was used longest ago.

        Raises OverloadedError, and evicts nothing, when leases and reservations leave too little.
        """
        self.expire()
        free = self.budget_bytes - self._held_bytes - self._reserved_bytes
        victims: list[str] = []
        for handle, entry in self._entries.items():
            if free >= num_bytes:
                break
            if entry.leases == 0:
                victims.append(handle)
                free += entry.num_bytes
        if free < num_bytes:
            self.events["reject"] += 1
            raise OverloadedError(
                f"no room for {num_bytes} bytes: {free} of {self.budget_bytes} bytes are not in "
                f"use; retry after {RETRY_AFTER_S} s",
                retry_after_s=RETRY_AFTER_S,
            )
        for handle in victims:
            self._remove(handle, "EVICTED")
        reservation = Reservation(num_bytes=num_bytes)
        self._reservations.add(reservation)
        self._reserved_bytes += num_bytes
        return reservation

    def cancel(self, reservation: Reservation) -> None:
        """Give reserved room back."""
        self._reservations.remove(reservation)
        self._reserved_bytes -= reservation.num_bytes

    def commit(self, reservation: Reservation, payload: P) -> str:
        """Hold a payload in reserved room. Returns its handle."""
        self.cancel(reservation)
        handle = self._new_handle()
        self._entries[handle] = _Entry(
            payload=payload,
            num_bytes=reservation.num_bytes,
            expires_s=self._clock() + self.ttl_s,
        )
        self._held_bytes += reservation.num_bytes
        self.events["commit"] += 1
        return handle

    def lease(self, handle: str) -> Lease[P]:
        """Use a payload; it counts as used now. Raises HandleGoneError naming the reason."""
        self.expire()
        entry = self._entries.get(handle)
        if entry is None or entry.released:
            self.events["miss"] += 1
            raise self._error(handle)
        lease = Lease(handle=handle, payload=entry.payload)
        self._leases.add(lease)
        entry.leases += 1
        self._touch(handle, entry)
        self.events["hit"] += 1
        return lease

    def end_lease(self, lease: Lease[P]) -> None:
        """Stop using a payload. Its time to live starts again."""
        self._leases.remove(lease)
        entry = self._entries[lease.handle]
        entry.leases -= 1
        if entry.released and entry.leases == 0:
            self._remove(lease.handle, "RELEASED")
        elif not entry.released:
            self._touch(lease.handle, entry)

    def release(self, handle: str) -> bool:
        """Forget a handle at once, and its payload when the last lease ends. False when gone."""
        self.expire()
        entry = self._entries.get(handle)
        if entry is None or entry.released:
            return False
        entry.released = True
        if entry.leases == 0:
            self._remove(handle, "RELEASED")
        return True

    def expire(self) -> None:
        """Drop what was not used for `ttl_s`. Least recently used means first to expire."""
        now = self._clock()
        due = []
        for handle, entry in self._entries.items():
            if entry.expires_s > now:
                break
            if entry.leases == 0:
                due.append(handle)
        for handle in due:
            self._remove(handle, "EXPIRED")

    def check_integrity(self) -> None:
        """Assert that the books balance."""
        held = sum(entry.num_bytes for entry in self._entries.values())
        reserved = sum(reservation.num_bytes for reservation in self._reservations)
        leases = Counter(lease.handle for lease in self._leases)
        assert self._held_bytes == held, (self._held_bytes, held)
        assert self._reserved_bytes == reserved, (self._reserved_bytes, reserved)
        assert held + reserved <= self.budget_bytes, (held, reserved, self.budget_bytes)
        assert leases == Counter({h: e.leases for h, e in self._entries.items() if e.leases})
        assert not any(e.released and not e.leases for e in self._entries.values())
        assert not self._entries.keys() & self._gone.keys()
        assert len(self._gone) <= self._max_gone

    def _touch(self, handle: str, entry: _Entry[P]) -> None:
        entry.expires_s = self._clock() + self.ttl_s
        self._entries.move_to_end(handle)

    def _remove(self, handle: str, reason: str) -> None:
        self._held_bytes -= self._entries.pop(handle).num_bytes
        self.events[reason.lower()] += 1
        self._gone[handle] = reason
        while len(self._gone) > self._max_gone:
            self._gone.popitem(last=False)

    def _error(self, handle: str) -> HandleGoneError:
        reason = "RELEASED" if handle in self._entries else self._gone.get(handle, "UNKNOWN")
        shown = handle if len(handle) <= 64 else handle[:64] + "..."
        return HandleGoneError(
            f"handle {shown!r} {_GONE[reason]}; encode the image again", reason=reason
        )
