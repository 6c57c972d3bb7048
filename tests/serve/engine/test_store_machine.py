"""The store against a plain dict, over random histories."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from apsam_serve.engine.store import Lease, Reservation, Store
from apsam_serve.errors import HandleGoneError, OverloadedError

BUDGET, TTL_S = 4, 5.0


class StoreMachine(RuleBasedStateMachine):
    """Remembers payload, last use and release of every handle ever made."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        numbers = itertools.count()
        self.store: Store[int] = Store(
            budget_bytes=BUDGET,
            ttl_s=TTL_S,
            clock=lambda: self.now,
            new_handle=lambda: f"h{next(numbers)}",
        )
        self.payloads: dict[str, int] = {}
        self.used: dict[str, float] = {}
        self.released: set[str] = set()
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

    @rule(target=handles, payload=st.integers())
    def commit(self, payload: int) -> str:
        if not self.reservations:
            return "nobody made this"
        handle = self.store.commit(self.reservations.pop(), payload)
        self.payloads[handle], self.used[handle] = payload, self.now
        return handle

    @rule()
    def cancel(self) -> None:
        if self.reservations:
            self.store.cancel(self.reservations.pop(0))

    @rule(handle=handles)
    def lease(self, handle: str) -> None:
        gone = ""
        try:
            lease = self.store.lease(handle)
        except HandleGoneError as error:
            gone = error.reason
        if gone:
            assert self.may_be_gone(handle, gone), gone
            return
        assert lease.payload == self.payloads[handle]
        assert handle not in self.released
        self.leases.append(lease)
        self.used[handle] = self.now

    @rule()
    def end_lease(self) -> None:
        if self.leases:
            lease = self.leases.pop(0)
            self.store.end_lease(lease)
            self.used[lease.handle] = self.now

    @rule(handle=handles)
    def release(self, handle: str) -> None:
        if self.store.release(handle):
            assert handle not in self.released
            self.released.add(handle)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.store.expire()

    @invariant()
    def books_balance(self) -> None:
        self.store.check_integrity()

    def may_be_gone(self, handle: str, reason: str) -> bool:
        leased = any(lease.handle == handle for lease in self.leases)
        return {
            "UNKNOWN": handle not in self.payloads,
            "RELEASED": handle in self.released,
            "EXPIRED": not leased and self.now - self.used.get(handle, 0) >= TTL_S,
            "EVICTED": not leased and handle in self.payloads,
        }[reason]


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStoreMachine = StoreMachine.TestCase
