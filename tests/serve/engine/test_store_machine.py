"""The store against a plain dict, over random histories."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from apsam_serve.engine.store import Lease, Reservation, Store
from apsam_serve.errors import HandleGoneError, OverloadedError

T = TypeVar("T")
BUDGET, TTL_S = 4, 5.0
OWNERS = st.sampled_from(["lane-1", "lane-2"])
GROUPS = st.sampled_from(["model-1", "model-2"])


class StoreMachine(RuleBasedStateMachine):
    """Remembers payload, owner, model, life, last use and end of every handle ever made."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        numbers = itertools.count()
        self.store: Store[int] = Store(
            budget_bytes=BUDGET,
            ttl_s=TTL_S,
            clock=lambda: self.now,
            new_token=lambda: f"h{next(numbers)}",
            removed=lambda payload: self.left.append(payload),
        )
        self.payloads: dict[str, int] = {}
        self.used: dict[str, float] = {}
        self.ttl_s: dict[str, float] = {}
        self.owner: dict[str, str] = {}
        self.group: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.dropped: set[str] = set()
        self.left: list[int] = []
        self.reservations: list[Reservation] = []
        self.leases: list[Lease[int]] = []

    @rule(num_bytes=st.integers(1, 3))
    def reserve(self, num_bytes: int) -> None:
        leased = {lease.handle for lease in self.leases}
        try:
            self.reservations.append(self.store.reserve(num_bytes))
        except OverloadedError:
            busy = sum(reservation.num_bytes for reservation in self.reservations)
            assert busy + 3 * len(leased) + num_bytes > BUDGET

    @rule(target=handles, owner=OWNERS, group=GROUPS, ttl_s=st.sampled_from([None, 2.0, 9.0]))
    def commit(self, owner: str, group: str, ttl_s: float | None) -> str:
        if not self.reservations:
            return "nobody made this"
        payload = len(self.payloads)
        handle = self.store.commit(
            self.reservations.pop(), payload, owner=owner, group=group, ttl_s=ttl_s
        )
        self.payloads[handle], self.used[handle] = payload, self.now
        self.owner[handle], self.group[handle] = owner, group
        self.ttl_s[handle] = TTL_S if ttl_s is None else ttl_s
        return handle

    @rule()
    def cancel(self) -> None:
        if self.reservations:
            self.store.cancel(self.reservations.pop(0))

    @rule(handle=handles, owner=OWNERS)
    def lease(self, handle: str, owner: str) -> None:
        lease = self.unless_gone(handle, owner, lambda: self.store.lease(handle, owner))
        if lease is None:
            return
        assert self.owner[handle] == owner
        assert lease.payload == self.payloads[handle]
        assert handle not in self.deleted | self.dropped
        self.leases.append(lease)
        self.used[handle] = self.now

    @rule(handle=handles, owner=OWNERS, ttl_s=st.sampled_from([None, 1.0, 8.0]))
    def renew(self, handle: str, owner: str, ttl_s: float | None) -> None:
        entry = self.unless_gone(handle, owner, lambda: self.store.renew(handle, owner, ttl_s))
        if entry is None:
            return
        assert self.owner[handle] == owner
        self.used[handle] = self.now
        self.ttl_s[handle] = self.ttl_s[handle] if ttl_s is None else ttl_s
        assert entry.expires_s == self.now + self.ttl_s[handle]

    @rule(handle=handles, owner=OWNERS)
    def get(self, handle: str, owner: str) -> None:
        entry = self.unless_gone(handle, owner, lambda: self.store.get(handle, owner))
        assert entry is None or entry.payload == self.payloads[handle]

    @rule()
    def end_lease(self) -> None:
        if self.leases:
            lease = self.leases.pop(0)
            self.store.end_lease(lease)
            self.used[lease.handle] = self.now

    @rule(handle=handles, owner=OWNERS)
    def delete(self, handle: str, owner: str) -> None:
        if self.store.delete(handle, owner):
            assert self.owner[handle] == owner
            assert handle not in self.deleted | self.dropped
            self.deleted.add(handle)

    @rule(group=GROUPS)
    def drop(self, group: str) -> None:
        self.store.drop(group)
        self.dropped |= {h for h, g in self.group.items() if g == group and h not in self.deleted}

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.store.expire()

    @invariant()
    def books_balance(self) -> None:
        self.store.check_integrity()

    @invariant()
    def what_left_was_in_nobodys_use_and_left_once(self) -> None:
        assert len(set(self.left)) == len(self.left)
        assert not set(self.left) & {lease.payload for lease in self.leases}

    def unless_gone(self, handle: str, owner: str, call: Callable[[], T]) -> T | None:
        """What the store answers, or None when it rightly says that the handle is gone."""
        try:
            return call()
        except HandleGoneError as error:
            reason = error.reason
        assert self.may_be_gone(handle, owner, reason), reason
        return None

    def may_be_gone(self, handle: str, owner: str, reason: str) -> bool:
        leased = any(lease.handle == handle for lease in self.leases)
        if handle not in self.payloads:
            return reason == "OWNER_LOST"
        if self.owner[handle] != owner:
            return reason == "UNKNOWN"
        return {
            "DELETED": handle in self.deleted,
            "MODEL_CHANGED": handle in self.dropped,
            "EXPIRED": not leased and self.now - self.used[handle] >= self.ttl_s[handle],
            "EVICTED": not leased,
        }.get(reason, False)


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStoreMachine = StoreMachine.TestCase
