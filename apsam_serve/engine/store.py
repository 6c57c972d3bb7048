"""Accounts for the encoded images that are held: a byte budget, owners, leases, age.

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
    "DELETED": "was deleted",
    "OWNER_LOST": "was given out by another server process, or before this one started",
    "MODEL_CHANGED": "was encoded by a model that this server no longer runs",
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
class Entry(Generic[P]):
    """What is held. owner: who alone may use it; group: the model it belongs to; created_s,
    expires_s: on the store's clock; leases: uses that run now; leaving: why it goes when the last
    of them ends, "" while it stays."""

    payload: P
    num_bytes: int
    owner: str
    group: str
    ttl_s: float
    created_s: float
    expires_s: float
    leases: int = 0
    leaving: str = ""


class Store(Generic[P]):
    """Holds payloads by handle, `SERVER_ID.TOKEN`. `clock` returns seconds; `new_token` never
    repeats itself; `removed` is told of every payload that left.

    `events` counts commits, hits, misses and each way of leaving, for the metrics.
    """

    def __init__(
        self,
        *,
        budget_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        new_token: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        removed: Callable[[P], None] = lambda payload: None,
        max_gone: int = 4096,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.ttl_s = ttl_s
        self.server_id = secrets.token_hex(4)
        self.events: Counter[str] = Counter()
        self.removed = removed
        self._clock = clock
        self._new_token = new_token
        self._max_gone = max_gone
        self._entries: OrderedDict[str, Entry[P]] = OrderedDict()  # least recently used first
        self._gone: OrderedDict[str, tuple[str, str]] = OrderedDict()  # handle -> (reason, owner)
        self._reservations: set[Reservation] = set()
        self._leases: set[Lease[P]] = set()
        self._counts: Counter[str] = Counter()  # group -> entries
        self._held_bytes = 0
        self._reserved_bytes = 0
        self._next_expiry_s = float("inf")

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

    def count(self, group: str) -> int:
        """Entries of a group. Safe from any thread: metrics are read on one of their own."""
        return self._counts[group]

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
        """Give reserved room back; harmless when it is used or given back already."""
        if reservation in self._reservations:
            self._reservations.remove(reservation)
            self._reserved_bytes -= reservation.num_bytes

    def commit(
        self,
        reservation: Reservation,
        payload: P,
        *,
        owner: str,
        group: str,
        ttl_s: float | None = None,
    ) -> str:
        """Hold a payload in reserved room. Returns its handle."""
        assert reservation in self._reservations
        self.cancel(reservation)
        handle = f"{self.server_id}.{self._new_token()}"
        now = self._clock()
        entry = Entry(
            payload=payload,
            num_bytes=reservation.num_bytes,
            owner=owner,
            group=group,
            ttl_s=self.ttl_s if ttl_s is None else ttl_s,
            created_s=now,
            expires_s=now,
        )
        self._entries[handle] = entry
        self._touch(handle, entry)
        self._counts[group] += 1
        self._held_bytes += reservation.num_bytes
        self.events["commit"] += 1
        return handle

    def lease(self, handle: str, owner: str) -> Lease[P]:
        """Use a payload; it counts as used now. Raises HandleGoneError naming the reason."""
        entry = self._find(handle, owner)
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
        if not entry.leaving:
            self._touch(lease.handle, entry)
        elif entry.leases == 0:
            self._remove(lease.handle, entry.leaving)

    def get(self, handle: str, owner: str) -> Entry[P]:
        """Look without using. Raises HandleGoneError."""
        return self._find(handle, owner)

    def renew(self, handle: str, owner: str, ttl_s: float | None) -> Entry[P]:
        """Start the time to live again, or another one. Raises HandleGoneError."""
        entry = self._find(handle, owner)
        entry.ttl_s = entry.ttl_s if ttl_s is None else ttl_s
        self._touch(handle, entry)
        self.events["renew"] += 1
        return entry

    def delete(self, handle: str, owner: str) -> bool:
        """Forget a handle at once, and its payload when the last lease ends. False when gone."""
        try:
            entry = self._find(handle, owner)
        except HandleGoneError:
            return False
        self._leave(handle, entry, "DELETED")
        return True

    def drop(self, group: str) -> None:
        """Forget every image of a model."""
        for handle, entry in list(self._entries.items()):
            if entry.group == group and not entry.leaving:
                self._leave(handle, entry, "MODEL_CHANGED")

    def expire(self) -> None:
        """Drop what was not used for its time to live."""
        now = self._clock()
        if now < self._next_expiry_s:
            return
        unused = [(h, e) for h, e in self._entries.items() if e.leases == 0]
        for handle, entry in unused:
            if entry.expires_s <= now:
                self._remove(handle, "EXPIRED")
        # Uses only move expiries away, so nothing is due before the earliest of today.
        self._next_expiry_s = min(
            (entry.expires_s for entry in self._entries.values() if entry.leases == 0),
            default=float("inf"),
        )

    def check_integrity(self) -> None:
        """Assert that the books balance."""
        held = sum(entry.num_bytes for entry in self._entries.values())
        reserved = sum(reservation.num_bytes for reservation in self._reservations)
        leases = Counter(lease.handle for lease in self._leases)
        unused = [entry.expires_s for entry in self._entries.values() if entry.leases == 0]
        assert self._held_bytes == held, (self._held_bytes, held)
        assert self._reserved_bytes == reserved, (self._reserved_bytes, reserved)
        assert held + reserved <= self.budget_bytes, (held, reserved, self.budget_bytes)
        assert self._counts == Counter(entry.group for entry in self._entries.values())
        assert leases == Counter({h: e.leases for h, e in self._entries.items() if e.leases})
        assert not any(e.leaving and not e.leases for e in self._entries.values())
        assert not self._entries.keys() & self._gone.keys()
        assert len(self._gone) <= self._max_gone
        assert self._next_expiry_s <= min(unused, default=float("inf"))

    def _find(self, handle: str, owner: str) -> Entry[P]:
        self.expire()
        entry = self._entries.get(handle)
        if entry is None or entry.leaving or entry.owner != owner:
            self.events["miss"] += 1
            raise self._error(handle, entry, owner)
        return entry

    def _touch(self, handle: str, entry: Entry[P]) -> None:
        entry.expires_s = self._clock() + entry.ttl_s
        self._next_expiry_s = min(self._next_expiry_s, entry.expires_s)
        self._entries.move_to_end(handle)

    def _leave(self, handle: str, entry: Entry[P], reason: str) -> None:
        entry.leaving = reason
        if entry.leases == 0:
            self._remove(handle, reason)

    def _remove(self, handle: str, reason: str) -> None:
        entry = self._entries.pop(handle)
        self._counts -= Counter((entry.group,))  # forgets groups that hold nothing
        self._held_bytes -= entry.num_bytes
        self.events[reason.lower()] += 1
        self._gone[handle] = reason, entry.owner
        while len(self._gone) > self._max_gone:
            self._gone.popitem(last=False)
        self.removed(entry.payload)

    def _error(self, handle: str, entry: Entry[P] | None, owner: str) -> HandleGoneError:
        reason, known_owner = self._gone.get(handle, ("UNKNOWN", owner))
        if entry is not None:
            reason, known_owner = entry.leaving, entry.owner
        elif reason == "UNKNOWN" and handle.partition(".")[0] != self.server_id:
            reason = "OWNER_LOST"
        if known_owner != owner:  # nobody learns what others hold
            reason = "UNKNOWN"
        shown = handle if len(handle) <= 64 else handle[:64] + "..."
        return HandleGoneError(
            f"handle {shown!r} {_GONE[reason]}; encode the image again", reason=reason
        )
