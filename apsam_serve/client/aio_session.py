"""A session of the client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from apsam_serve.client import requests
from apsam_serve.client.calls import Calls, Effect, Open, Pause, Step
from apsam_serve.client.faults import (
    FAREWELL_S,
    LATE_S,
    fault_of,
    step_expired,
    stream_ended,
    stream_error,
)
from apsam_serve.client.images import Image, image_message
from apsam_serve.client.requests import FASTEST
from apsam_serve.client.running import run_async
from apsam_serve.client.session_flows import SessionFlows
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.proposals import ProposeOptions
from apsam_serve.engine.replies import Embedding
from apsam_serve.service.convert import Proposal
from apsam_serve.v1 import segmentation_pb2 as pb


class AsyncSession:
    """`client.Session` for coroutines; for one task."""

    def __init__(
        self, calls: Calls, open_stream: Callable[[str], AsyncStream], *, max_message_bytes: int
    ) -> None:
        self._flows = SessionFlows(calls)
        self._open_stream = open_stream
        self._max_message_bytes = max_message_bytes
        self._stream: AsyncStream | None = None

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def image(self, image: Image) -> Embedding:
        """Encode an image; it becomes the current one."""
        message = await asyncio.to_thread(
            image_message, image, max_message_bytes=self._max_message_bytes
        )
        return await run_async(self._flows.image(message), self._do)

    async def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer prompts about the current image, as `RemoteImage.segment` does."""
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return await run_async(self._flows.segment(request), self._do)

    async def propose(
        self,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects in the current image, the strongest peak first."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return await run_async(self._flows.propose(request), self._do)

    async def close(self) -> None:
        """End the stream; the server forgets the current image."""
        if self._stream is not None:
            await self._stream.close()
            self._stream = None

    async def _do(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Open):
            await self.close()
            self._stream = self._open_stream(effect.address)
            return None
        assert isinstance(effect, Step)
        assert self._stream is not None
        return await self._stream.step(effect)


class AsyncStream:
    """A stream to one server. method: the stub's Session."""

    def __init__(self, method: Any, address: str) -> None:
        self._address = address
        self._call = method()

    async def step(self, step: Step) -> pb.SessionResponse:
        """Raises the package's own error for a fault, DeadlineExceededError, or NotServingError for
        a stream that has ended."""
        try:
            async with asyncio.timeout(step.timeout_s + LATE_S):
                await self._call.write(step.request)
                response: Any = await self._call.read()
        except TimeoutError:
            raise step_expired(self._address, step.timeout_s) from None
        except asyncio.InvalidStateError:  # a write after the end
            raise stream_ended(self._address) from None
        except grpc.aio.AioRpcError as error:
            raise stream_error(error, self._address) from error
        if response is grpc.aio.EOF:
            raise stream_ended(self._address)
        if response.HasField("fault"):
            raise fault_of(response.fault, self._address)
        answered: pb.SessionResponse = response
        return answered

    async def close(self) -> None:
        """Say that no step follows, and wait a moment for the server to take note."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._call.done_writing()
                await self._call.code()
        except (TimeoutError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
            pass  # it has ended in any case
        finally:
            self._call.cancel()
