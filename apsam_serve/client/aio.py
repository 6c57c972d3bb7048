"""The client for asyncio; verbs and errors are those of `client.sync`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from apsam_serve.client import channels, requests
from apsam_serve.client.aio_session import AsyncSession, AsyncStream
from apsam_serve.client.calls import Calls, Effect, Pause, Send
from apsam_serve.client.flows import Flows
from apsam_serve.client.held import Held, HeldFacts
from apsam_serve.client.images import Image, image_message
from apsam_serve.client.requests import FASTEST
from apsam_serve.client.retries import Retries
from apsam_serve.client.running import run_async
from apsam_serve.client.server_info import ServerInfo
from apsam_serve.config import MAX_MESSAGE_BYTES
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.proposals import AttentionMap, ProposeOptions
from apsam_serve.engine.replies import Embedding
from apsam_serve.service.convert import Proposal
from apsam_serve.service.trailers import error_of
from apsam_serve.v1 import segmentation_pb2 as pb


class AsyncClient:
    """`client.Client` for coroutines: the same arguments and verbs. For one event loop, whose
    tasks may share it; a cancelled call is cancelled at the server too."""

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        timeout_s: float = 30.0,
        tls: channels.Tls | None = None,
        retries: Retries | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._calls = Calls(servers, timeout_s=timeout_s, retries=retries or Retries())
        self._flows = Flows(self._calls)
        self._max_message_bytes = max_message_bytes
        self._wires = channels.Wires(
            grpc.aio.insecure_channel,
            grpc.aio.secure_channel,
            tls=tls,
            max_message_bytes=max_message_bytes,
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def servers(self) -> tuple[str, ...]:
        """As given, each once."""
        return self._calls.routes.addresses

    async def encode(self, image: Image, *, ttl_s: float | None = None) -> AsyncRemoteImage:
        """Encode an image and have a server hold it; ttl_s: life of the unused handle.

        Raises InvalidImageError, OverloadedError, NotServingError or DeadlineExceededError.
        """
        held = await run_async(self._flows.encode(await self._message(image), ttl_s), self._do)
        return AsyncRemoteImage(held, self._flows, self._do)

    async def segment(
        self,
        image: Image,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer prompts about an image in one call; the server does not hold it."""
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return await run_async(self._flows.segment(await self._message(image), request), self._do)

    async def propose(
        self,
        image: Image,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects in an image in one call, the strongest peak first."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return await run_async(self._flows.propose(await self._message(image), request), self._do)

    def session(self) -> AsyncSession:
        """Image, click, refine, next image over one stream: `async with client.session() as s`."""
        return AsyncSession(
            self._calls, self._open_stream, max_message_bytes=self._max_message_bytes
        )

    async def server_info(self, server: str | None = None) -> ServerInfo:
        """What a server runs and allows; None: whichever answers."""
        return await run_async(self._flows.server_info(server), self._do)

    async def is_serving(self, server: str | None = None) -> bool:
        """Whether a server is loaded, warm and not draining; None: any of them. Raises
        NotServingError when none answers."""
        return await run_async(self._flows.is_serving(server), self._do)

    async def close(self) -> None:
        """Close the connections. What servers hold expires by itself."""
        for channel in self._wires.take_all():
            await channel.close()

    async def _do(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            return await asyncio.sleep(effect.seconds)
        assert isinstance(effect, Send)
        try:
            method = self._wires.method(effect.address, effect.method)
            return await method(effect.request, timeout=effect.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, effect.address) from error

    def _open_stream(self, address: str) -> AsyncStream:
        return AsyncStream(self._wires.method(address, "Session"), address)

    async def _message(self, image: Image) -> pb.Image:
        """Files are read and arrays are packed beside the event loop."""
        return await asyncio.to_thread(
            image_message, image, max_message_bytes=self._max_message_bytes
        )


class AsyncRemoteImage(HeldFacts):
    """`client.RemoteImage` for coroutines."""

    def __init__(self, held: Held, flows: Flows, do: Callable[[Effect], Awaitable[Any]]) -> None:
        super().__init__(held)
        self._flows = flows
        self._do = do

    async def __aenter__(self) -> AsyncRemoteImage:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()

    async def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Segmentation]:
        """Answer each prompt, in order. Prompt.mask_id: of an earlier answer about this image.

        Raises InvalidPromptError, MaskGoneError for a mask that is no longer held, or
        HandleGoneError after `release`; an image that the server lost is encoded again.
        """
        request = requests.segment_request(prompts, strategy, apg, mask_encoding)
        return await run_async(self._flows.segment_held(self._held, request), self._do)

    async def propose(
        self,
        options: ProposeOptions | None = None,
        *,
        strategy: StrategyName = "apg",
        apg: ApgConfig | None = None,
        mask_encoding: pb.MaskEncoding = FASTEST,
    ) -> list[Proposal]:
        """Find objects, the strongest peak first. Encodes again as `segment` does."""
        request = requests.propose_request(options, strategy, apg, mask_encoding)
        return await run_async(self._flows.propose_held(self._held, request), self._do)

    async def attention(self) -> AttentionMap:
        """Where the energy branch looked, for people to see; `propose` finds its peaks. Encodes
        again as `segment` does."""
        return await run_async(self._flows.attention_held(self._held), self._do)

    async def renew(self, ttl_s: float | None = None) -> Embedding:
        """Move the expiry; ttl_s: its life from now on, None for as it was. Encodes again as
        `segment` does."""
        return await run_async(self._flows.renew(self._held, ttl_s), self._do)

    async def info(self) -> Embedding:
        """What the server knows of it. Does not count as use. Raises HandleGoneError."""
        return await run_async(self._flows.info(self._held), self._do)

    async def release(self) -> None:
        """Have the server forget the image; harmless when image or server are gone already."""
        await run_async(self._flows.release(self._held), self._do)
