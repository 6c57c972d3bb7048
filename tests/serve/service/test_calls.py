"""Jobs outlive their callers, quietly, and `close` waits for them."""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import replace

import pytest

from apsam_serve.engine.calls import Call
from apsam_serve.errors import InvalidInputError, OverloadedError
from apsam_serve.service.calls import CallRecord, Calls, Ledger, enter, ledger
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.desk import Recorder

ANSWER = pb.DeleteEmbeddingResponse(deleted=True)


async def moments() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def opened() -> Ledger:
    made = Ledger(method="Segment", peer="ipv4:1.2.3.4:5", owner="anna")
    enter(made)
    return made


@pytest.mark.parametrize(
    ("late", "logged"),
    [
        (OverloadedError("full", retry_after_s=1), []),
        (RuntimeError("boom"), ["a call failed after its caller had gone"]),
    ],
    ids=["an expected error", "a fault"],
)
def test_the_late_error_of_a_job_without_a_caller_is_logged_only_if_it_is_a_fault(
    late: Exception, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        calls, call, go_on = Calls(), Call(), asyncio.Event()
        opened()

        async def work() -> pb.DeleteEmbeddingResponse:
            await go_on.wait()
            raise late

        caller = asyncio.create_task(calls.run(work, call))
        await moments()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert (call.gone, calls.num_running) == (True, 1)
        closing = asyncio.create_task(calls.close())
        await moments()
        assert not closing.done()
        go_on.set()
        await closing
        assert calls.num_running == 0

    with caplog.at_level(logging.WARNING):
        asyncio.run(test())
        gc.collect()  # where asyncio would complain of an exception that nobody has seen
    assert [record.getMessage() for record in caplog.records] == logged


def test_what_a_call_did_is_undone_and_not_recorded_when_its_caller_has_gone() -> None:
    async def test() -> None:
        recorder, call, go_on = Recorder(), Call(), asyncio.Event()
        calls = Calls(auditor=recorder)
        undone: list[pb.DeleteEmbeddingResponse] = []
        opened()

        async def work() -> pb.DeleteEmbeddingResponse:
            await go_on.wait()
            return ANSWER

        caller = asyncio.create_task(calls.run(work, call, undone.append))
        await moments()
        caller.cancel()
        await moments()
        go_on.set()
        await calls.close()
        assert undone == [ANSWER]
        assert recorder.records == []

    asyncio.run(test())


def test_a_reply_larger_than_a_message_is_refused_and_undone() -> None:
    async def test() -> None:
        undone: list[pb.SegmentResponse] = []
        large = pb.SegmentResponse(model_digest="0" * 100)
        opened()

        async def work() -> pb.SegmentResponse:
            return large

        with pytest.raises(InvalidInputError, match="takes 102 bytes, the largest message is 100"):
            await Calls(max_reply_bytes=100).run(work, Call(), undone.append)
        assert undone == [large]

    asyncio.run(test())


def test_the_ledger_of_a_call_is_its_jobs_too_and_ends_as_a_record() -> None:
    class Observer:
        def __init__(self) -> None:
            self.records: list[CallRecord] = []

        def finished(self, record: CallRecord) -> None:
            self.records.append(record)

    async def test() -> None:
        observer = Observer()
        calls = Calls(observers=[observer])

        async def one(number: int) -> None:
            mine = opened()

            async def work() -> pb.DeleteEmbeddingResponse:
                await asyncio.sleep(0)
                ledger().handle = str(number)
                return ANSWER

            await calls.run(work, Call())
            calls.finished(mine)

        await asyncio.gather(*(one(number) for number in range(3)))
        expected = CallRecord(
            method="Segment",
            owner="anna",
            peer="ipv4:1.2.3.4:5",
            code="OK",
            reason="",
            seconds=0,
            num_bytes_out=2,
        )
        found = [replace(record, seconds=0) for record in observer.records]
        assert found == [replace(expected, handle=str(number)) for number in range(3)]

    asyncio.run(test())
