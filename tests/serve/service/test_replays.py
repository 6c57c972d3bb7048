"""Retries by request id: one piece of work, one reply, one record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.errors import (
    AuditFailedError,
    InvalidImageError,
    NotServingError,
    RequestIdReusedError,
)
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.replays import KEEP_S, OVERHEAD
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import CLICK, new_id, num_held, refused
from tests.serve.service.desk import ANSWER, ID, Desk, moments, run


async def ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_same_call_again_gets_the_same_reply_without_the_work() -> None:
    async def test() -> None:
        desk = Desk()
        desk.serve()
        first, second = await desk.ask(), await desk.ask()
        assert first == second == ANSWER
        assert desk.kitchen.num_done == 1
        assert [record.code for record in desk.recorder.records] == ["OK"]
        assert desk.recorder.records[0].request_id == ID

    run(test)


def test_without_an_id_every_call_works() -> None:
    async def test() -> None:
        desk = Desk()
        desk.serve()
        await desk.ask("")
        await desk.ask("")
        assert desk.kitchen.num_done == 2
        assert len(desk.recorder.records) == 2
        assert len(desk.replays) == 0

    run(test)


def test_ids_of_different_owners_have_nothing_to_do_with_each_other() -> None:
    async def test() -> None:
        desk = Desk()
        desk.serve()
        await desk.ask()
        await desk.ask(request=pb.SegmentRequest(handle="b", request_id=ID), owner="bert")
        assert desk.kitchen.num_done == 2

    run(test)


@pytest.mark.parametrize("still_running", [True, False])
def test_another_request_under_the_same_id_is_refused(still_running: bool) -> None:
    async def test() -> None:
        desk = Desk()
        first = desk.ask()
        if not still_running:
            desk.serve()
            await first
        await moments()
        with pytest.raises(RequestIdReusedError, match=f"{ID} came before with another request"):
            await desk.ask(request=pb.SegmentRequest(handle="b", request_id=ID))
        desk.serve()
        await first

    run(test)


def test_who_comes_while_the_work_runs_waits_for_it_too() -> None:
    async def test() -> None:
        desk = Desk()
        first, second = desk.ask(), desk.ask()
        await moments()
        assert desk.calls.num_running == 1
        desk.serve()
        assert await first is await second
        assert desk.kitchen.num_done == 1
        assert len(desk.recorder.records) == 1

    run(test)


def test_work_that_has_started_goes_on_without_its_caller_and_a_retry_gets_its_reply() -> None:
    async def test() -> None:
        desk = Desk()
        first = desk.ask()
        desk.kitchen.start.set()
        await moments()
        await ended(first)
        assert desk.seen[0].gone
        desk.kitchen.go_on.set()
        await moments()
        assert await desk.ask() == ANSWER
        assert desk.kitchen.num_done == 1
        assert desk.kitchen.undone == []
        assert [record.code for record in desk.recorder.records] == ["OK"]

    run(test)


def test_work_that_never_started_is_dropped_and_a_retry_works_anew() -> None:
    async def test() -> None:
        desk = Desk()
        first = desk.ask()
        await moments()
        await ended(first)
        desk.serve()
        await moments()
        assert desk.calls.num_running == 0
        assert desk.kitchen.num_started == 0
        assert await desk.ask() == ANSWER
        assert desk.kitchen.num_done == 1

    run(test)


def test_who_joins_brings_the_work_back_to_life() -> None:
    async def test() -> None:
        desk = Desk()
        first = desk.ask()
        await moments()
        await ended(first)
        second = desk.ask()
        await moments()
        assert not desk.seen[0].gone
        desk.serve()
        assert await second == ANSWER
        assert desk.kitchen.num_done == 1

    run(test)


def test_one_of_two_who_goes_does_not_stop_the_work_for_the_other() -> None:
    async def test() -> None:
        desk = Desk()
        first, second = desk.ask(), desk.ask()
        await moments()
        await ended(second)
        assert not desk.seen[0].gone
        desk.serve()
        assert await first == ANSWER

    run(test)


def test_who_joins_work_that_is_just_being_dropped_has_it_done_anew() -> None:
    async def test() -> None:
        desk = Desk()
        first = desk.ask()
        await moments()
        await ended(first)
        desk.kitchen.drop.clear()
        desk.serve()
        await moments()  # the work has seen that its caller is gone
        second = desk.ask()
        await moments()
        desk.kitchen.drop.set()
        assert await second == ANSWER
        assert desk.kitchen.num_done == 1

    run(test)


@pytest.mark.parametrize(
    ("first_s", "second_s", "expected_s"), [(1, 5, 5), (5, 1, 5), (1, None, None), (None, 1, None)]
)
def test_the_work_has_as_much_time_as_the_most_patient_of_its_callers(
    first_s: float | None, second_s: float | None, expected_s: float | None
) -> None:
    async def test() -> None:
        desk = Desk()
        callers = [desk.ask(deadline_s=first_s), desk.ask(deadline_s=second_s)]
        await moments()
        assert desk.seen[0].deadline_s == expected_s
        desk.serve()
        await asyncio.gather(*callers)

    run(test)


def test_errors_are_not_remembered() -> None:
    async def test() -> None:
        desk = Desk()
        outcomes = iter([InvalidImageError("no image"), ANSWER])

        async def work() -> pb.SegmentResponse:
            outcome = next(outcomes)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        with pytest.raises(InvalidImageError):
            await desk.ask(work=work)
        assert await desk.ask(work=work) == ANSWER

    run(test)


def test_work_that_is_stopped_under_its_caller_is_named_so() -> None:
    async def test() -> None:
        desk = Desk()

        async def work() -> pb.SegmentResponse:
            raise asyncio.CancelledError

        with pytest.raises(NotServingError, match="the work was stopped"):
            await desk.ask("", work=work)

    run(test)


def test_a_reply_that_cannot_be_recorded_is_undone_and_not_remembered() -> None:
    async def test() -> None:
        desk = Desk()
        desk.serve()
        desk.recorder.full = True
        with pytest.raises(AuditFailedError):
            await desk.ask()
        assert desk.kitchen.undone == [ANSWER]
        desk.recorder.full = False
        assert await desk.ask() == ANSWER
        assert desk.kitchen.num_done == 2

    run(test)


def test_replies_are_kept_two_minutes_unless_newer_ones_need_their_room() -> None:
    async def test() -> None:
        size = ANSWER.ByteSize() + OVERHEAD
        desk = Desk(max_bytes=2 * size)
        desk.serve()
        ids = [new_id() for _ in range(3)]
        for request_id in ids:
            await desk.ask(request_id)
        assert (len(desk.replays), desk.replays.num_bytes) == (2, 2 * size)
        await desk.ask(ids[1])
        assert desk.kitchen.num_done == 3
        await desk.ask(ids[0])
        assert desk.kitchen.num_done == 4
        desk.now_s = KEEP_S
        await desk.ask(ids[0])
        assert desk.kitchen.num_done == 5
        assert (len(desk.replays), desk.replays.num_bytes) == (1, size)

    run(test)


def test_a_reply_larger_than_all_room_pushes_no_other_out() -> None:
    async def test() -> None:
        desk = Desk(max_bytes=ANSWER.ByteSize() + OVERHEAD)
        desk.serve()
        await desk.ask()
        large = pb.SegmentResponse(model_digest="0" * 100)

        async def work() -> pb.SegmentResponse:
            return large

        assert await desk.ask(new_id(), work=work) == large
        await desk.ask()
        assert desk.kitchen.num_done == 1

    run(test)


def test_over_a_channel_a_retry_holds_one_image_and_leaves_one_record(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    tmp_path: Path,
) -> None:
    server = serve(audit_log=tmp_path / "audit.jsonl")
    stub = connect(server)
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png), request_id=new_id())
    first = stub.CreateEmbedding(request)
    assert stub.CreateEmbedding(request).SerializeToString() == first.SerializeToString()
    assert num_held(server) == 1
    for method, message in (
        (stub.Segment, pb.SegmentRequest(prompts=[CLICK])),
        (stub.Propose, pb.ProposeRequest()),
    ):
        message.handle, message.request_id = first.embedding.handle, new_id()
        # Other masks are made each time: their ids tell work from memory.
        assert method(message) == method(message)
    other = pb.CreateEmbeddingRequest(image=pb.Image(file=b"x"), request_id=request.request_id)
    assert refused(stub.CreateEmbedding, other).reason == "REQUEST_ID_REUSED"
    server.server.audit.flush()  # type: ignore[union-attr]
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines if "method" in json.loads(line)]
    assert [(one["method"], one["reason"]) for one in records] == [
        ("CreateEmbedding", ""),
        ("Segment", ""),
        ("Propose", ""),
        ("CreateEmbedding", "REQUEST_ID_REUSED"),
    ]
