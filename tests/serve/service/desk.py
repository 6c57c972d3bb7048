"""A desk where calls with request ids are asked, and the kitchen behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from apsam_serve.engine.calls import Call
from apsam_serve.errors import AuditFailedError
from apsam_serve.service.calls import CallRecord, Calls, Ledger, enter
from apsam_serve.service.replays import Replays
from apsam_serve.v1 import segmentation_pb2 as pb

ID = "6f7ff4a4-54a5-4ec3-8a52-0f9a6c1f3a1e"
ASKED = pb.SegmentRequest(handle="a", request_id=ID)
ANSWER = pb.SegmentResponse(model_digest="0" * 64)
Work = Callable[[], Awaitable[pb.SegmentResponse]]


class Kitchen:
    """Work that waits until it is told to go on, and counts how often it ran. Like the engine's, it
    ends as cancelled where its call has gone before `start`."""

    def __init__(self) -> None:
        self.num_started = 0
        self.num_done = 0
        self.undone: list[pb.SegmentResponse] = []
        self.start = asyncio.Event()
        self.go_on = asyncio.Event()
        self.drop = asyncio.Event()
        self.drop.set()

    def work(self, call: Call) -> Work:
        async def cook() -> pb.SegmentResponse:
            await self.start.wait()
            if call.gone:
                await self.drop.wait()
                raise asyncio.CancelledError
            self.num_started += 1
            await self.go_on.wait()
            self.num_done += 1
            return ANSWER

        return cook


class Recorder:
    """An audit log in a list."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.full = False

    def require_writable(self) -> None:
        """Always."""

    def finished(self, record: CallRecord) -> None:
        if self.full:
            raise AuditFailedError("full")
        self.records.append(record)


class Desk:
    """Replays with its parts, and callers of it."""

    def __init__(self, *, max_bytes: int = 1000) -> None:
        self.now_s = 0.0
        self.recorder = Recorder()
        self.calls = Calls(auditor=self.recorder)
        self.replays = Replays(self.calls, max_bytes=max_bytes, clock=lambda: self.now_s)
        self.kitchen = Kitchen()
        self.seen: list[Call] = []

    def ask(
        self,
        request_id: str = ID,
        request: pb.SegmentRequest = ASKED,
        *,
        owner: str = "anna",
        work: Work | None = None,
        deadline_s: float | None = None,
    ) -> asyncio.Task[pb.SegmentResponse]:
        async def caller() -> pb.SegmentResponse:
            opened = Ledger(method="Segment", peer="", owner=owner)
            enter(opened)
            call = Call(owner=owner, deadline_s=deadline_s)
            self.seen.append(call)
            cooking = work or self.kitchen.work(call)
            reply = await self.replays.answer(
                request_id, request, cooking, call, self.kitchen.undone.append
            )
            self.calls.audit(opened)  # as the interceptor does
            return reply

        return asyncio.create_task(caller())

    def serve(self) -> None:
        self.kitchen.start.set()
        self.kitchen.go_on.set()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 5))


async def moments() -> None:
    """Long enough for everything that can happen to happen."""
    for _ in range(10):
        await asyncio.sleep(0)
