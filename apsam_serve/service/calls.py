"""How a call runs: in a task of its own, which outlives a caller that goes, and what is known of it
when it ends."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from apsam_serve.config import MAX_MESSAGE_BYTES
from apsam_serve.engine.calls import ANONYMOUS, Call
from apsam_serve.engine.replies import Timings
from apsam_serve.errors import ApsamError, InvalidInputError, NotServingError

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
OwnerOf = Callable[[Context], str]
"""The identity behind a call. Raises UnauthenticatedError."""
Work = Callable[[], Awaitable[M]]
Undo = Callable[[M], None]
"""Takes back what a call did, where nobody learns of its reply."""
_log = logging.getLogger("apsam_serve.service")


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One call, or one step of a session, when it has ended.

    method: "Segment"; of a session's steps "Session/segment"; code: name of the gRPC status;
    reason: of the error, "" for none; replayed: the reply of an earlier call with the same request
    id; what follows is empty where the call did not learn it. digests: SHA-256, hexadecimal, of the
    image as sent, of the model's manifest, of the prompts and settings as a SessionSegment or
    SessionPropose message, and of every packed mask.
    """

    method: str
    owner: str
    peer: str
    code: str
    reason: str
    seconds: float
    replayed: bool = False
    request_id: str = ""
    handle: str = ""
    image_digest: str = ""
    model_digest: str = ""
    num_bytes_in: int = 0
    num_bytes_out: int = 0
    timings_s: Timings = field(default_factory=dict)
    prompt_digest: str = ""
    mask_digests: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class Ledger:
    """What a running call has learnt so far; see CallRecord. recorded: its answer is in the audit
    log already."""

    method: str
    peer: str
    owner: str = ANONYMOUS
    request_id: str = ""
    handle: str = ""
    image_digest: str = ""
    model_digest: str = ""
    num_bytes_in: int = 0
    num_bytes_out: int = 0
    timings_s: Timings = field(default_factory=dict)
    prompt_digest: str = ""
    mask_digests: tuple[str, ...] = ()
    replayed: bool = False
    recorded: bool = False
    started_s: float = field(default_factory=time.perf_counter)

    def closed(self, code: str = "OK", reason: str = "") -> CallRecord:
        """The record of a call that ends now."""
        known = {
            name: value
            for name, value in vars(self).items()
            if name not in ("recorded", "started_s")
        }
        seconds = time.perf_counter() - self.started_s
        return CallRecord(code=code, reason=reason, seconds=seconds, **known)


class Observer(Protocol):
    """Sees every call when it has ended."""

    def finished(self, record: CallRecord) -> None:
        """Called on the event loop, so it returns at once."""
        ...


class Auditor(Protocol):
    """Sees every answer before the caller does, once each: the error of a call that failed, too,
    but neither a call that was cancelled nor a reply that is given again."""

    def require_writable(self) -> None:
        """Called before the work. Raises AuditFailedError where a record might not be kept."""
        ...

    def finished(self, record: CallRecord) -> None:
        """Returns at once. Raises AuditFailedError; the caller gets that instead of the answer."""
        ...


_ledger: ContextVar[Ledger] = ContextVar("ledger")


def ledger() -> Ledger:
    """Of the call that runs here; a task sees that of the call which started it."""
    return _ledger.get()


def enter(opened: Ledger) -> None:
    """From now on `ledger` is this one."""
    _ledger.set(opened)


class Job(Generic[M]):
    """Work in a task of its own, and those who wait for it. Once nobody does, `call.gone` holds."""

    def __init__(self, task: asyncio.Task[M], call: Call) -> None:
        self._task = task
        self._call = call
        self._num_waiting = 0

    @property
    def dropped(self) -> bool:
        """Whether it never started because its callers had gone."""
        return self._task.cancelled()

    async def result(self) -> M:
        """Wait for it. Raises what the work raises, or NotServingError when the work was cancelled
        and its caller was not."""
        self._num_waiting += 1
        self._call.gone = False
        try:
            return await _outcome(self._task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self.dropped and waiter is not None and not waiter.cancelling():
                raise NotServingError("the work was stopped; use another server") from None
            raise
        finally:
            self._num_waiting -= 1
            if not self._num_waiting and not self._task.done():
                self._call.gone = True


class Calls:
    """Starts jobs and knows which ones still run, and tells of calls that have ended. auditor: None
    records nothing; max_reply_bytes: largest message."""

    def __init__(
        self,
        *,
        owner_of: OwnerOf = lambda context: ANONYMOUS,
        auditor: Auditor | None = None,
        observers: Sequence[Observer] = (),
        max_reply_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.owner_of = owner_of
        self._auditor = auditor
        self._observers = observers
        self._max_reply_bytes = max_reply_bytes
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def num_running(self) -> int:
        """Jobs that have not ended, whether or not anybody waits for them."""
        return len(self._running)

    def call_of(self, context: Context) -> Call:
        """The call that runs here, as the engine sees it."""
        remaining_s, opened = context.time_remaining(), ledger()
        return Call(
            owner=opened.owner,
            station=opened.peer if opened.owner == ANONYMOUS else opened.owner,
            deadline_s=None if remaining_s is None else time.monotonic() + remaining_s,
        )

    async def run(self, work: Work[M], call: Call, undo: Undo[M] | None = None) -> M:
        """Run `work` and wait for it; its answer is recorded. A caller that has gone cancels what
        has not started, and what has is undone."""
        return await self.start(self.recorded(work, call, undo, keep=False), call).result()

    def start(self, work: Coroutine[Any, Any, M], call: Call) -> Job[M]:
        """Run `work` in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(done, call))
        return Job(task, call)

    async def recorded(self, work: Work[M], call: Call, undo: Undo[M] | None, *, keep: bool) -> M:
        """What `work` answers, in the audit log. It is undone where that fails. Unless `keep`, an
        answer that nobody waits for any longer is undone too, and not recorded."""
        opened = ledger()
        reply = await work()
        if call.gone and not keep:
            if undo is not None:
                undo(reply)
            return reply
        try:
            opened.num_bytes_out = self._sized(reply)
            self.audit(opened)
        except ApsamError:
            if undo is not None:
                undo(reply)
            raise
        return reply

    def require_recordable(self) -> None:
        """Raise AuditFailedError where an answer might not be recorded."""
        if self._auditor is not None:
            self._auditor.require_writable()

    def audit(self, opened: Ledger, code: str = "OK", reason: str = "") -> None:
        """Record how a call ends, unless it has been. Raises AuditFailedError."""
        if self._auditor is not None and not opened.recorded:
            opened.recorded = True
            self._auditor.finished(opened.closed(code, reason))

    def finished(self, opened: Ledger, code: str = "OK", reason: str = "") -> None:
        """Tell the observers."""
        record = opened.closed(code, reason)
        for observer in self._observers:
            observer.finished(record)

    async def close(self) -> None:
        """Return when every job has ended."""
        while self._running:
            await asyncio.wait(self._running)

    def _sized(self, reply: Message) -> int:
        num_bytes = reply.ByteSize()
        if num_bytes > self._max_reply_bytes:
            raise InvalidInputError(
                f"the reply takes {num_bytes} bytes, the largest message is "
                f"{self._max_reply_bytes}; give fewer prompts, or another mask_encoding"
            )
        return num_bytes

    def _ended(self, task: asyncio.Task[Any], call: Call) -> None:
        self._running.discard(task)
        # Looking at the error also tells asyncio that somebody has seen it.
        error = None if task.cancelled() else task.exception()
        if call.gone and error is not None and not isinstance(error, ApsamError):
            _log.error("a call failed after its caller had gone", exc_info=error)


async def _outcome(task: asyncio.Task[M]) -> M:
    """As asyncio.shield with less to do: no call goes without it."""
    ended = asyncio.get_running_loop().create_future()

    def wake(done: asyncio.Task[M]) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(wake)
    await ended
    return task.result()


def sha256(data: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(data).hexdigest()
