"""The store's books, with pools of four entries of one byte."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable

import pytest

from apsam_serve.engine.store import Lease, Store
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
        budget_bytes=4, ttl_s=10, clock=clock, new_token=lambda: f"h{next(numbers)}", max_gone=8
    )


def put(
    store: Store[str],
    payload: str = "payload",
    *,
    owner: str = "lane-1",
    group: str = "model-1",
    ttl_s: float | None = None,
) -> str:
    handle = store.commit(store.reserve(1), payload, owner=owner, group=group, ttl_s=ttl_s)
    store.check_integrity()
    return handle


def use(store: Store[str], handle: str, owner: str = "lane-1") -> Lease[str]:
    return store.lease(handle, owner)


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(HandleGoneError) as caught:
        call()
    return caught.value.reason


def test_a_scrape_counts_a_groups_images_while_they_come_and_go() -> None:
    store: Store[str] = Store(budget_bytes=600, ttl_s=10)
    for _ in range(500):
        store.commit(store.reserve(1), "", owner="lane-1", group="old")
    counts: list[int] = []
    scraped, interval_s = threading.Event(), sys.getswitchinterval()

    def scrape() -> None:
        counts.extend(store.count("old") for _ in range(2000))
        scraped.set()

    sys.setswitchinterval(1e-5)
    try:
        threading.Thread(target=scrape, daemon=True).start()
        for _ in range(500):
            put(store, group="new")
            store.delete(put(store, group="new"), "lane-1")
        assert scraped.wait(5)
    finally:
        sys.setswitchinterval(interval_s)
    assert len(counts) == 2000
    assert store.count("old") + store.count("new") == len(store)


def test_a_lease_gives_the_payload_back(store: Store[str]) -> None:
    handle = put(store, "bag 7")
    assert use(store, handle).payload == "bag 7"


def test_the_fifth_image_evicts_the_one_used_longest_ago(store: Store[str]) -> None:
    first, second, *_ = [put(store) for _ in range(4)]
    store.end_lease(use(store, first))
    put(store)
    store.end_lease(use(store, first))
    assert reason(lambda: use(store, second)) == "EVICTED"
    assert store.events["evicted"] == 1


def test_a_leased_image_is_never_evicted(store: Store[str]) -> None:
    leases = [use(store, put(store)) for _ in range(4)]
    with pytest.raises(OverloadedError, match=r"no room for 1 bytes: 0 of 4 bytes.*retry after"):
        store.reserve(1)
    store.end_lease(leases[2])
    put(store)
    assert reason(lambda: use(store, leases[2].handle)) == "EVICTED"
    assert use(store, leases[0].handle).payload == "payload"


def test_a_refused_reservation_evicts_nothing(store: Store[str]) -> None:
    handles = [put(store) for _ in range(3)]
    use(store, put(store))
    with pytest.raises(OverloadedError):
        store.reserve(4)
    for handle in handles:
        store.end_lease(use(store, handle))


def test_reserved_room_counts_before_anything_is_held(store: Store[str]) -> None:
    reservations = [store.reserve(1) for _ in range(4)]
    with pytest.raises(OverloadedError):
        store.reserve(1)
    store.cancel(reservations[0])
    store.commit(reservations[1], "payload", owner="lane-1", group="model-1")
    store.reserve(1)
    store.check_integrity()
    assert (store.held_bytes, store.reserved_bytes) == (1, 3)


def test_an_unused_image_expires_and_use_prolongs_its_life(store: Store[str], clock: Clock) -> None:
    used, unused = put(store), put(store)
    clock.now = 9
    store.end_lease(use(store, used))
    clock.now = 11
    assert reason(lambda: use(store, unused)) == "EXPIRED"
    store.end_lease(use(store, used))
    assert len(store) == 1


def test_a_leased_image_does_not_expire_in_use(store: Store[str], clock: Clock) -> None:
    lease = use(store, put(store))
    clock.now = 100
    store.expire()
    store.check_integrity()
    assert len(store) == 1
    store.end_lease(lease)
    assert use(store, lease.handle).payload == "payload"


def test_a_deleted_image_is_gone_at_once_but_its_memory_stays_until_the_lease_ends(
    store: Store[str],
) -> None:
    lease = use(store, put(store))
    assert store.delete(lease.handle, "lane-1")
    assert not store.delete(lease.handle, "lane-1")
    assert reason(lambda: use(store, lease.handle)) == "DELETED"
    assert store.held_bytes == 1
    store.end_lease(lease)
    assert store.held_bytes == 0
    assert reason(lambda: use(store, lease.handle)) == "DELETED"


def test_a_handle_nobody_made_is_unknown_and_its_message_stays_short(store: Store[str]) -> None:
    unknown = f"{store.server_id}.never"
    with pytest.raises(HandleGoneError, match="is unknown to this server; encode the image again"):
        use(store, unknown)
    with pytest.raises(HandleGoneError) as caught:
        use(store, "x" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_only_so_many_gone_handles_are_remembered(store: Store[str]) -> None:
    handles = [put(store) for _ in range(9)]
    for handle in handles:
        store.delete(handle, "lane-1")
    store.check_integrity()
    assert reason(lambda: use(store, handles[0])) == "UNKNOWN"
    assert reason(lambda: use(store, handles[-1])) == "DELETED"


def test_a_handle_of_another_process_or_life_has_lost_its_owner(store: Store[str]) -> None:
    handle = put(Store(budget_bytes=4, ttl_s=10))
    assert reason(lambda: use(store, handle)) == "OWNER_LOST"
    assert reason(lambda: use(store, "never")) == "OWNER_LOST"


def test_nobody_uses_sees_or_ends_what_another_identity_holds(store: Store[str]) -> None:
    handle = put(store)
    for call in (store.lease, store.get, lambda h, o: store.renew(h, o, 5.0)):
        assert reason(lambda call=call: call(handle, "lane-2")) == "UNKNOWN"
    assert not store.delete(handle, "lane-2")
    assert store.delete(handle, "lane-1")
    assert reason(lambda: use(store, handle, "lane-2")) == "UNKNOWN"
    assert reason(lambda: use(store, handle)) == "DELETED"


def test_each_image_has_its_own_life_and_renewing_changes_it(
    store: Store[str], clock: Clock
) -> None:
    short, usual = put(store, ttl_s=2), put(store)
    assert store.renew(usual, "lane-1", 100).expires_s == 100
    clock.now = 3
    assert reason(lambda: use(store, short)) == "EXPIRED"
    clock.now = 50
    assert store.renew(usual, "lane-1", None).expires_s == 150
    clock.now = 151
    store.expire()
    store.check_integrity()
    assert len(store) == 0


def test_looking_is_no_use(store: Store[str], clock: Clock) -> None:
    handle = put(store)
    clock.now = 9
    assert store.get(handle, "lane-1").expires_s == 10
    clock.now = 10
    assert reason(lambda: store.get(handle, "lane-1")) == "EXPIRED"


def test_a_model_that_goes_takes_its_images_along_when_nobody_uses_them(
    store: Store[str],
) -> None:
    old, busy, new = put(store), put(store), put(store, group="model-2")
    lease = use(store, busy)
    assert (store.count("model-1"), store.count("model-2")) == (2, 1)
    store.drop("model-1")
    store.check_integrity()
    assert reason(lambda: use(store, old)) == reason(lambda: use(store, busy)) == "MODEL_CHANGED"
    assert store.count("model-1") == 1
    store.end_lease(lease)
    assert store.count("model-1") == 0
    assert use(store, new).payload == "payload"


def test_whoever_keeps_the_memory_is_told_of_every_payload_that_leaves(
    store: Store[str], clock: Clock
) -> None:
    left: list[str] = []
    store.removed = left.append
    lease = use(store, put(store, "deleted in use"))
    store.delete(lease.handle, "lane-1")
    put(store, "expired", ttl_s=1)
    for number in range(2):
        put(store, f"{number}")
    assert left == []
    clock.now = 2
    put(store, "2")
    assert left == ["expired"]
    store.end_lease(lease)
    assert left == ["expired", "deleted in use"]
    for number in range(3, 5):
        put(store, f"{number}")
    assert left[2:] == ["0"]
