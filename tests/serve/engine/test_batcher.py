"""Whose turn it is, as truth tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.errors import DeadlineExceededError, OverloadedError


@dataclass(kw_only=True, eq=False)
class FakeJob:
    name: str
    kind: Kind
    size: int = 1
    deadline_s: float | None = None
    group: str = "model"
    station: str = "lane"
    has_gone: bool = False

    def gone(self) -> bool:
        return self.has_gone


def click(name: str, size: int = 1, **more: Any) -> FakeJob:
    return FakeJob(name=name, kind=Kind.CLICK, size=size, **more)


def encode(name: str, **more: Any) -> FakeJob:
    return FakeJob(name=name, kind=Kind.ENCODE, **more)


LIMITS = Limits(
    max_pending_clicks=2,
    max_pending_encodes=3,
    max_batch_prompts=4,
    max_batch_images=2,
    max_click_streak=2,
)


@pytest.fixture
def batcher() -> Batcher[FakeJob]:
    return Batcher(LIMITS)


def order(batcher: Batcher[FakeJob], *jobs: FakeJob) -> list[str]:
    """The batches that come out, each as its jobs' names."""
    for job in jobs:
        batcher.push(job)
    batches = []
    while (batch := batcher.next_batch(0.0)) is not None:
        batches.append("".join(job.name for job in batch.jobs))
    return batches


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], []),
        ([encode("e"), click("c")], ["c", "e"]),
        ([encode("1"), encode("2"), encode("3")], ["12", "3"]),
        ([click("1", 2), click("2", 2), click("3", 1)], ["12", "3"]),
        ([click("1", 3), click("2", 2), click("3", 1)], ["1", "23"]),
        ([click("1", 64), click("2")], ["1", "2"]),
        ([encode("e"), click("1", 4), click("2", 4), click("3", 4)], ["1", "2", "e", "3"]),
    ],
)
def test_clicks_come_first_in_full_batches_and_encodes_never_starve(
    batcher: Batcher[FakeJob], jobs: list[FakeJob], expected: list[str]
) -> None:
    assert order(batcher, *jobs) == expected


def test_a_cancelled_job_is_never_started(batcher: Batcher[FakeJob]) -> None:
    gone = click("gone", has_gone=True)
    batcher.push(gone)
    batcher.push(click("stays"))
    batch = batcher.next_batch(0.0)
    assert batch is not None
    assert (list(batch.gone), [job.name for job in batch.jobs]) == ([gone], ["stays"])


def test_a_job_whose_deadline_passed_is_handed_out_to_be_failed(batcher: Batcher[FakeJob]) -> None:
    late, fine = click("late", deadline_s=1.0), click("fine", deadline_s=3.0)
    batcher.push(late)
    batcher.push(fine)
    batch = batcher.next_batch(2.0)
    assert batch is not None
    assert (list(batch.expired), list(batch.jobs)) == ([late], [fine])
    assert batcher.next_batch(2.0) is None


def test_stations_take_turns_and_each_ones_jobs_stay_in_order(batcher: Batcher[FakeJob]) -> None:
    flood = [encode(name, station="flood") for name in "abcd"]
    other = [encode(name, station="other") for name in "xy"]
    assert order(batcher, *flood, *other) == ["ax", "by", "cd"]


def test_only_jobs_of_one_model_share_a_batch(batcher: Batcher[FakeJob]) -> None:
    jobs = [
        click("1", group="old", station="a"),
        click("2", group="new", station="b"),
        click("3", group="old", station="c"),
        click("4", group="new", station="a"),
    ]
    assert order(batcher, *jobs) == ["13", "24"]


def fill(batcher: Batcher[FakeJob], clicks: int = 2, encodes: int = 3) -> None:
    for kind, count in ((Kind.CLICK, clicks), (Kind.ENCODE, encodes)):
        for _ in range(count):
            batcher.admit(kind, now_s=0.0)


def test_each_class_has_its_own_bound_and_the_refusal_says_when_to_come_back(
    batcher: Batcher[FakeJob],
) -> None:
    batcher.record(Kind.CLICK, seconds=0.5, num_jobs=2)
    batcher.record(Kind.ENCODE, seconds=2.0, num_jobs=1)
    fill(batcher)
    with pytest.raises(OverloadedError, match=r"2 click requests are pending.*retry") as caught:
        batcher.admit(Kind.CLICK, now_s=0.0)
    assert caught.value.retry_after_s == pytest.approx(2 * 0.25)
    with pytest.raises(OverloadedError, match="3 encode requests") as caught:
        batcher.admit(Kind.ENCODE, now_s=0.0)
    assert caught.value.retry_after_s == pytest.approx(2 * 0.25 + 3 * 2.0)
    assert batcher.refused == {("click", "OVERLOADED"): 1, ("encode", "OVERLOADED"): 1}
    batcher.leave(Kind.CLICK)
    batcher.admit(Kind.CLICK, now_s=0.0)


def test_the_batch_that_runs_counts_for_what_is_left_of_it(batcher: Batcher[FakeJob]) -> None:
    batcher.record(Kind.ENCODE, seconds=2.0, num_jobs=1)
    fill(batcher, clicks=0, encodes=3)
    batcher.start(Kind.ENCODE, 10.0, num_jobs=1)
    assert batcher.wait_s(Kind.CLICK, 10.5) == pytest.approx(1.5)
    assert batcher.wait_s(Kind.ENCODE, 10.5) == pytest.approx(1.5 + 2 * 2.0)
    overdue_s = 15.0 - (10.0 + 2.0)
    assert batcher.wait_s(Kind.CLICK, 15.0) == pytest.approx(overdue_s)


@pytest.mark.parametrize(
    ("deadline_s", "error"),
    [
        (0.4, DeadlineExceededError),
        (0.9, OverloadedError),
        (1.1, None),
        (None, None),
    ],
)
def test_a_call_that_cannot_make_its_deadline_is_refused_when_it_comes(
    batcher: Batcher[FakeJob], deadline_s: float | None, error: type[Exception] | None
) -> None:
    batcher.record(Kind.CLICK, seconds=0.5, num_jobs=1)
    fill(batcher, clicks=1, encodes=0)
    if error is None:
        batcher.admit(Kind.CLICK, now_s=0.0, deadline_s=deadline_s)
        return
    with pytest.raises(error, match=r"the deadline is 0\.[49]00 s away"):
        batcher.admit(Kind.CLICK, now_s=0.0, deadline_s=deadline_s)
    assert batcher.depth(Kind.CLICK) == 1


def test_an_idle_server_tries_whatever_it_remembers(batcher: Batcher[FakeJob]) -> None:
    batcher.record(Kind.CLICK, seconds=60.0, num_jobs=1)
    batcher.admit(Kind.CLICK, now_s=0.0, deadline_s=0.1)
    assert batcher.depth(Kind.CLICK) == 1


def test_a_wrong_memory_of_a_class_does_not_refuse_it_for_ever_while_others_work(
    batcher: Batcher[FakeJob],
) -> None:
    batcher.start(Kind.ENCODE, 0.0, num_jobs=1)
    batcher.record(Kind.ENCODE, seconds=30.0, num_jobs=1)
    batcher.admit(Kind.CLICK, now_s=30.0)
    with pytest.raises(DeadlineExceededError, match=r"a encode takes 30\.000 s"):
        batcher.admit(Kind.ENCODE, now_s=300.0, deadline_s=310.0)
    batcher.admit(Kind.ENCODE, now_s=331.0, deadline_s=341.0)
    assert batcher.depth(Kind.ENCODE) == 1


def test_an_estimate_follows_what_jobs_really_take(batcher: Batcher[FakeJob]) -> None:
    batcher.admit(Kind.CLICK, now_s=0.0)
    batcher.record(Kind.CLICK, seconds=9.0, num_jobs=1)
    for _ in range(50):
        batcher.record(Kind.CLICK, seconds=0.6, num_jobs=2)
    assert batcher.wait_s(Kind.CLICK, 0.0) == pytest.approx(0.3, rel=0.01)


def test_draining_takes_everything_out(batcher: Batcher[FakeJob]) -> None:
    batcher.push(click("c"))
    batcher.push(encode("e"))
    assert {job.name for job in batcher.drain()} == {"c", "e"}
    assert batcher.next_batch(0.0) is None


def test_a_station_that_floods_leaves_places_for_others() -> None:
    batcher: Batcher[FakeJob] = Batcher(Limits(max_pending_clicks=16))
    flood = [f"flood {number}" for number in range(14)]
    for _ in flood:
        batcher.admit(Kind.CLICK, now_s=0.0, station="flood")
    with pytest.raises(OverloadedError, match="14 of your click requests are pending, and the"):
        batcher.admit(Kind.CLICK, now_s=0.0, station="flood")
    for station in ("one", "other"):
        batcher.admit(Kind.CLICK, now_s=0.0, station=station)
    with pytest.raises(OverloadedError, match="16 click requests are pending"):
        batcher.admit(Kind.CLICK, now_s=0.0, station="third")
    for _ in range(3):
        batcher.leave(Kind.CLICK, station="flood")
    batcher.admit(Kind.CLICK, now_s=0.0, station="flood")
