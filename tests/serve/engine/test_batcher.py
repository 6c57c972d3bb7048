"""Whose turn it is, as truth tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.errors import OverloadedError


@dataclass(kw_only=True, eq=False)
class FakeJob:
    name: str
    kind: Kind
    size: int = 1
    deadline_s: float | None = None
    gone: bool = False

    def cancelled(self) -> bool:
        return self.gone


def click(name: str, size: int = 1, deadline_s: float | None = None) -> FakeJob:
    return FakeJob(name=name, kind=Kind.CLICK, size=size, deadline_s=deadline_s)


def encode(name: str) -> FakeJob:
    return FakeJob(name=name, kind=Kind.ENCODE)


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
    gone = click("gone")
    gone.gone = True
    assert order(batcher, gone, click("stays")) == ["stays"]


def test_a_job_whose_deadline_passed_is_handed_out_to_be_failed(batcher: Batcher[FakeJob]) -> None:
    late, fine = click("late", deadline_s=1.0), click("fine", deadline_s=3.0)
    batcher.push(late)
    batcher.push(fine)
    batch = batcher.next_batch(2.0)
    assert batch is not None
    assert (list(batch.expired), list(batch.jobs)) == ([late], [fine])
    assert batcher.next_batch(2.0) is None


def test_each_class_has_its_own_bound_and_the_refusal_says_when_to_come_back(
    batcher: Batcher[FakeJob],
) -> None:
    batcher.record(Kind.CLICK, 0.5)
    batcher.record(Kind.ENCODE, 2.0)
    for _ in range(2):
        batcher.admit(Kind.CLICK)
    for _ in range(3):
        batcher.admit(Kind.ENCODE)
    with pytest.raises(OverloadedError, match=r"2 click requests are pending.*retry") as caught:
        batcher.admit(Kind.CLICK)
    # One batch of two clicks, and three images in two batches.
    assert caught.value.retry_after_s == pytest.approx(0.5 + 2 * 2.0)
    batcher.leave(Kind.CLICK)
    batcher.admit(Kind.CLICK)
    with pytest.raises(OverloadedError, match="3 encode requests"):
        batcher.admit(Kind.ENCODE)


def test_an_estimate_follows_what_batches_really_take(batcher: Batcher[FakeJob]) -> None:
    batcher.admit(Kind.CLICK)
    assert batcher.estimate_s() > 0
    for _ in range(50):
        batcher.record(Kind.CLICK, 0.3)
    assert batcher.estimate_s() == pytest.approx(0.3, rel=0.01)


def test_draining_takes_everything_out(batcher: Batcher[FakeJob]) -> None:
    batcher.push(click("c"))
    batcher.push(encode("e"))
    assert {job.name for job in batcher.drain()} == {"c", "e"}
    assert batcher.next_batch(0.0) is None
