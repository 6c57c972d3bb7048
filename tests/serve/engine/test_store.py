"""The store's books, with pools of four entries of one byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from apsam_serve.engine.store import Store
from apsam_serve.errors import HandleGoneError, OverloadedError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store[str]:
    numbers = itertools.count(1)
    return Store(
        budget_bytes=4, ttl_s=10, clock=clock, new_handle=lambda: f"h{next(numbers)}", max_gone=8
    )


def put(store: Store[str], payload: str = "payload") -> str:
    handle = store.commit(store.reserve(1), payload)
    store.check_integrity()
    return handle


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(HandleGoneError) as caught:
        call()
    return caught.value.reason


def test_a_lease_gives_the_payload_back(store: Store[str]) -> None:
    handle = put(store, "bag 7")
    assert store.lease(handle).payload == "bag 7"


def test_the_fifth_image_evicts_the_one_used_longest_ago(store: Store[str]) -> None:
    first, second, *_ = [put(store) for _ in range(4)]
    store.end_lease(store.lease(first))
    put(store)
    store.end_lease(store.lease(first))
    assert reason(lambda: store.lease(second)) == "EVICTED"
    assert store.events["evicted"] == 1


def test_a_leased_image_is_never_evicted(store: Store[str]) -> None:
    leases = [store.lease(put(store)) for _ in range(4)]
    with pytest.raises(OverloadedError, match=r"no room for 1 bytes: 0 of 4 bytes.*retry after"):
        store.reserve(1)
    store.end_lease(leases[2])
    put(store)
    assert reason(lambda: store.lease(leases[2].handle)) == "EVICTED"
    assert store.lease(leases[0].handle).payload == "payload"


def test_a_refused_reservation_evicts_nothing(store: Store[str]) -> None:
    handles = [put(store) for _ in range(3)]
    store.lease(put(store))
    with pytest.raises(OverloadedError):
        store.reserve(4)
    for handle in handles:
        store.end_lease(store.lease(handle))


def test_reserved_room_counts_before_anything_is_held(store: Store[str]) -> None:
    reservations = [store.reserve(1) for _ in range(4)]
    with pytest.raises(OverloadedError):
        store.reserve(1)
    store.cancel(reservations[0])
    store.commit(reservations[1], "payload")
    store.reserve(1)
    store.check_integrity()
    assert (store.held_bytes, store.reserved_bytes) == (1, 3)


def test_an_unused_image_expires_and_use_prolongs_its_life(store: Store[str], clock: Clock) -> None:
    used, unused = put(store), put(store)
    clock.now = 9
    store.end_lease(store.lease(used))
    clock.now = 11
    assert reason(lambda: store.lease(unused)) == "EXPIRED"
    store.end_lease(store.lease(used))
    assert len(store) == 1


def test_a_leased_image_does_not_expire_in_use(store: Store[str], clock: Clock) -> None:
    lease = store.lease(put(store))
    clock.now = 100
    store.expire()
    store.check_integrity()
    assert len(store) == 1
    store.end_lease(lease)
    assert store.lease(lease.handle).payload == "payload"


def test_a_released_image_is_gone_at_once_but_its_memory_stays_until_the_lease_ends(
    store: Store[str],
) -> None:
    lease = store.lease(put(store))
    assert store.release(lease.handle)
    assert not store.release(lease.handle)
    assert reason(lambda: store.lease(lease.handle)) == "RELEASED"
    assert store.held_bytes == 1
    store.end_lease(lease)
    assert store.held_bytes == 0
    assert reason(lambda: store.lease(lease.handle)) == "RELEASED"


def test_a_handle_nobody_made_is_unknown_and_its_message_stays_short(store: Store[str]) -> None:
    with pytest.raises(HandleGoneError, match="is unknown to this server; encode the image again"):
        store.lease("never")
    with pytest.raises(HandleGoneError) as caught:
        store.lease("x" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_only_so_many_gone_handles_are_remembered(store: Store[str]) -> None:
    handles = [put(store) for _ in range(9)]
    for handle in handles:
        store.release(handle)
    store.check_integrity()
    assert reason(lambda: store.lease(handles[0])) == "UNKNOWN"
    assert reason(lambda: store.lease(handles[-1])) == "RELEASED"
