"""The same request again, by its id, gets the same reply: after a broken connection nothing is done
twice. One event loop calls it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from apsam_serve.engine.calls import Call
from apsam_serve.errors import NotServingError, RequestIdReusedError
from apsam_serve.service.calls import Calls, Job, Undo, Work, ledger

M = TypeVar("M", bound=Message)
KEEP_S = 120.0
"""How long a reply is kept, unless newer ones need its room."""
OVERHEAD = 512
"""Bytes that a reply takes in memory beside its own."""
_LARGE = 64 * 2**10
"""Bytes of a request from which on it is hashed on a thread; a megabyte takes milliseconds."""
Key = tuple[str, str, str]
"""Owner, method, request id."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Running:
    digest: bytes
    job: Job[Any]
    call: Call


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    digest: bytes
    kind: type[Message]
    data: bytes
    num_bytes: int
    ends_s: float


class Replays:
    """Runs work once per owner, method and request id. Only replies are remembered, errors are not:
    who tries again after one wants the work. max_bytes: of all remembered replies."""

    def __init__(
        self, calls: Calls, *, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._calls = calls
        self._max_bytes = max_bytes
        self._clock = clock
        self._running: dict[Key, _Running] = {}
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()  # oldest first
        self._num_bytes = 0

    def __len__(self) -> int:
        """Replies that are remembered."""
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """Of the replies that are remembered."""
        return self._num_bytes

    async def answer(
        self,
        request_id: str,
        request: Message,
        work: Work[M],
        call: Call,
        undo: Undo[M] | None = None,
    ) -> M:
        """The reply to `request`, from `work` or from an earlier time; "" always works.

        A call that comes while the work runs waits for it too. Raises what the work raises, and
        RequestIdReusedError when the id came with another request.
        """
        opened = ledger()
        opened.request_id = request_id
        if not request_id:
            return await self._calls.run(work, call, undo)
        key = (call.owner, opened.method, request_id)
        digest = await _digest(request)
        while True:
            if (kept := self._recall(key)) is not None:
                _require_same(kept.digest, digest, request_id)
                opened.replayed = opened.recorded = True
                return cast(M, kept.kind.FromString(kept.data))
            running = joined = self._running.get(key)
            if running is None:
                running = self._start(key, digest, work, call, undo)
            else:
                _require_same(running.digest, digest, request_id)
                _extend(running.call, call.deadline_s)
            try:
                reply = cast(M, await running.job.result())
            except NotServingError:
                if running.job.dropped:  # because its caller went, just before this one joined
                    continue
                raise
            if joined is not None:
                opened.replayed = opened.recorded = True
            return reply

    def _start(
        self, key: Key, digest: bytes, work: Work[M], call: Call, undo: Undo[M] | None
    ) -> _Running:
        async def remembered() -> M:
            try:
                reply = await self._calls.recorded(work, call, undo, keep=True)
                if not self._keep(key, digest, reply) and call.gone and undo is not None:
                    undo(reply)  # nobody can come back for it
                return reply
            finally:
                del self._running[key]

        running = _Running(digest=digest, job=self._calls.start(remembered(), call), call=call)
        self._running[key] = running
        return running

    def _recall(self, key: Key) -> _Kept | None:
        now_s = self._clock()
        while self._kept and next(iter(self._kept.values())).ends_s <= now_s:
            self._forget_oldest()
        return self._kept.get(key)

    def _keep(self, key: Key, digest: bytes, reply: Message) -> bool:
        """Remember a reply, unless it is too large for that."""
        data = reply.SerializeToString()
        num_bytes = len(data) + OVERHEAD
        if num_bytes > self._max_bytes:
            return False
        while self._num_bytes + num_bytes > self._max_bytes:
            self._forget_oldest()
        ends_s = self._clock() + KEEP_S
        self._kept[key] = _Kept(
            digest=digest, kind=type(reply), data=data, num_bytes=num_bytes, ends_s=ends_s
        )
        self._num_bytes += num_bytes
        return True

    def _forget_oldest(self) -> None:
        _, oldest = self._kept.popitem(last=False)
        self._num_bytes -= oldest.num_bytes


async def _digest(request: Message) -> bytes:
    if request.ByteSize() < _LARGE:
        return _hashed(request)
    return await asyncio.to_thread(_hashed, request)


def _hashed(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _require_same(known: bytes, digest: bytes, request_id: str) -> None:
    if known != digest:
        raise RequestIdReusedError(
            f"request_id {request_id} came before with another request; give every new request an "
            "id of its own"
        )


def _extend(call: Call, deadline_s: float | None) -> None:
    """Whoever joins may have more time than who came first."""
    if call.deadline_s is not None:
        call.deadline_s = None if deadline_s is None else max(call.deadline_s, deadline_s)
