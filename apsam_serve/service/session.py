"""One station's stream: image, click, refine, next image."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from apsam_serve.engine.calls import Call
from apsam_serve.errors import ApsamError, DeadlineExceededError, HandleGoneError, InvalidInputError
from apsam_serve.service import convert
from apsam_serve.service.answers import Answers
from apsam_serve.service.calls import Calls, Ledger, enter
from apsam_serve.service.convert_images import image_from
from apsam_serve.service.faults import fault_of
from apsam_serve.v1 import segmentation_pb2 as pb

_KEEP_ALIVE = 0.5
"""Part of its life after which the current image is renewed, while the stream is open."""


class Session:
    """Answers the steps of a stream one after the other. stream: the call that the stream is;
    hold_s: life of the current image's handle, renewed until the next image or `close`."""

    def __init__(self, answers: Answers, calls: Calls, stream: Call, *, hold_s: float) -> None:
        self._answers = answers
        self._calls = calls
        self._stream = stream
        self._hold_s = hold_s
        self._num_steps = 0
        self._handle = ""
        self._renewal: asyncio.TimerHandle | None = None

    async def answer(self, request: pb.SessionRequest) -> pb.SessionResponse:
        """Do one step. A step that fails is answered with a fault."""
        step, self._num_steps = self._num_steps, self._num_steps + 1
        kind = request.WhichOneof("step")
        opened = Ledger(
            method=f"Session/{kind or 'nothing'}",
            peer=self._stream.station,
            owner=self._stream.owner,
            num_bytes_in=request.ByteSize(),
        )
        enter(opened)
        try:
            self._calls.require_recordable()
            response = await self._within(request, kind)
        except Exception as error:
            response = self._failed(opened, error)
            error.__traceback__ = None  # its frames hold the request, and some of them hold it
        else:
            self._calls.finished(opened)
        response.step = step
        return response

    def close(self) -> None:
        """Forget the current image."""
        self._forget()

    async def _within(self, request: pb.SessionRequest, kind: str | None) -> pb.SessionResponse:
        if not request.HasField("timeout"):
            return await self._do(request, kind, replace(self._stream))
        timeout_s = convert.seconds_from("timeout", request.timeout)
        ends_s = time.monotonic() + timeout_s
        if self._stream.deadline_s is not None:
            ends_s = min(ends_s, self._stream.deadline_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._do(request, kind, replace(self._stream, deadline_s=ends_s))
        except TimeoutError:
            raise DeadlineExceededError(
                f"the step took longer than its timeout of {timeout_s} s; give it more time"
            ) from None

    async def _do(
        self, request: pb.SessionRequest, kind: str | None, call: Call
    ) -> pb.SessionResponse:
        if kind == "image":
            return pb.SessionResponse(embedding=await self._create(request.image, call))
        if kind == "segment":
            segment = self._answers.segment(self._current(), request.segment, call)
            return pb.SessionResponse(segmentations=await self._calls.run(segment, call))
        if kind == "propose":
            propose = self._answers.propose(self._current(), request.propose, call)
            return pb.SessionResponse(proposals=await self._calls.run(propose, call))
        raise InvalidInputError("request has no step; give one of image, segment and propose")

    async def _create(self, message: pb.Image, call: Call) -> pb.CreateEmbeddingResponse:
        self._forget()  # before the work, which may need the room
        work = self._answers.create(image_from(message), call, self._hold_s)

        async def held() -> pb.CreateEmbeddingResponse:
            reply = await work()
            # Here, in the job: the stream may end just before it would learn of the handle.
            if not call.gone:
                self._hold(reply.embedding.handle)
            return reply

        return await self._calls.run(held, call, lambda reply: self._drop(reply.embedding.handle))

    def _drop(self, handle: str) -> None:
        """Take back an image whose answer nobody gets; another one may be current by now."""
        if handle == self._handle:
            self._forget()
        self._answers.engine.delete(handle, self._stream)

    def _hold(self, handle: str) -> None:
        self._handle = handle
        loop = asyncio.get_running_loop()
        self._renewal = loop.call_later(self._hold_s * _KEEP_ALIVE, self._renew)

    def _renew(self) -> None:
        try:
            self._answers.engine.renew(self._handle, self._stream, ttl_s=self._hold_s)
        except HandleGoneError:
            return  # the next step will say why
        self._hold(self._handle)

    def _forget(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._handle:
            self._answers.engine.delete(self._handle, self._stream)
            self._handle = ""

    def _current(self) -> str:
        if not self._handle:
            raise InvalidInputError("the session has no current image; send one that works first")
        return self._handle

    def _failed(self, opened: Ledger, error: Exception) -> pb.SessionResponse:
        fault = fault_of(error)
        try:
            self._calls.audit(opened, fault.code.name, fault.reason)
        except ApsamError as unrecorded:
            fault = fault_of(unrecorded)
        self._calls.finished(opened, fault.code.name, fault.reason)
        retry_s = fault.retry_after_s
        return pb.SessionResponse(
            fault=pb.Fault(
                code=fault.code.value[0],
                reason=fault.reason,
                message=fault.message,
                retry_after=None if retry_s is None else convert.duration_to(retry_s),
            )
        )
