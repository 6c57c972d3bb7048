"""Which pictures the service holds for the console, and what happens when it no longer does.

The client encodes again by itself when a handle is gone, whether it expired, was evicted, or the
service was started anew. What is left to do here: not to encode one picture twice at once, to say
that it was encoded again, and to answer from the points alone where the mask to refine went with
the handle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from apsam_serve.client import (
    AsyncClient,
    AsyncRemoteImage,
    AttentionMap,
    Proposal,
    ProposeOptions,
)
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.errors import ApsamError, AuditFailedError, MaskGoneError, NotServingError

MAX_LEASES = 16
"""Pictures held at once. Each keeps its file in memory, to encode it again."""
PATIENCE_S = 3.0
"""How long a service that does not answer is tried before the page hears of it."""
_PAUSE_S = 0.2
_FAREWELL_S = 2.0
T = TypeVar("T")
Load = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """How long the service holds a picture from now on unless it is used, and its whole life."""

    expires_in_s: float
    ttl_s: float


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What every answer tells. round_trip_s: of the call, as the console saw it; encoded_again: the
    service had lost the picture; refine_lost: it had lost the mask to refine, and has answered from
    points and box alone."""

    lease: Lease
    round_trip_s: float
    model_digest: str
    encoded_again: bool = False
    refine_lost: bool = False


@dataclass(eq=False)
class _Held:
    """A picture. ttl_s: life of the unused handle."""

    remote: AsyncRemoteImage
    ttl_s: float


class Leases:
    """Pictures by their number in the project, the last used `MAX_LEASES` of them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._held: dict[int, _Held] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def open(self, image: int, load: Load) -> Reply:
        """Have the service hold a picture, or hold it for longer. load: reads its file."""
        known = image in self._held
        began_s = time.monotonic()
        held = await self._get(image, load)
        before = held.remote.handle
        if known:
            held.ttl_s = (await self._patiently(held.remote.renew)).ttl_s
        return self._reply(held, began_s, before)

    async def segment(
        self, image: int, load: Load, prompt: Prompt, strategy: StrategyName
    ) -> tuple[Segmentation, Reply]:
        """Answer one prompt. Raises what `AsyncRemoteImage.segment` does, but MaskGoneError."""
        held = await self._get(image, load)
        began_s, before = time.monotonic(), held.remote.handle

        async def ask(prompt: Prompt) -> Segmentation:
            (answer,) = await held.remote.segment([prompt], strategy=strategy)
            return answer

        try:
            answer = await self._patiently(lambda: ask(prompt))
        except MaskGoneError:
            answer = await self._patiently(lambda: ask(replace(prompt, mask_id="")))
            return answer, replace(self._reply(held, began_s, before), refine_lost=True)
        return answer, self._reply(held, began_s, before)

    async def propose(
        self, image: int, load: Load, options: ProposeOptions
    ) -> tuple[list[Proposal], Reply]:
        """Find objects."""
        held = await self._get(image, load)
        began_s, before = time.monotonic(), held.remote.handle
        found = await self._patiently(lambda: held.remote.propose(options))
        return found, self._reply(held, began_s, before)

    async def attention(self, image: int, load: Load) -> AttentionMap:
        """Where the energy branch looks."""
        held = await self._get(image, load)
        return await self._patiently(held.remote.attention)

    def model_digest(self, image: int) -> str:
        """The bundle that answers about a picture, "" while none does."""
        held = self._held.get(image)
        return "" if held is None else held.remote.model_digest

    async def close(self) -> None:
        """Have the service forget everything. What it does not hear expires by itself."""
        held, self._held = [*self._held.values()], {}
        await asyncio.gather(*map(_release, held))

    async def _get(self, image: int, load: Load) -> _Held:
        lock = self._locks.setdefault(image, asyncio.Lock())
        async with lock:
            held = self._held.pop(image, None)
            if held is None:
                data = await load()
                remote = await self._patiently(lambda: self._client.encode(data))
                ttl_s = (await remote.info()).ttl_s
                held = _Held(remote=remote, ttl_s=ttl_s)
            self._held[image] = held  # the last used stands last
        await self._forget_the_oldest()
        return held

    async def _forget_the_oldest(self) -> None:
        while len(self._held) > MAX_LEASES:
            oldest = next(iter(self._held))
            self._locks.pop(oldest, None)
            await _release(self._held.pop(oldest))

    def _reply(self, held: _Held, began_s: float, before: str) -> Reply:
        """Every use moves the expiry to a whole life from then."""
        return Reply(
            lease=Lease(expires_in_s=held.ttl_s, ttl_s=held.ttl_s),
            round_trip_s=time.monotonic() - began_s,
            model_digest=held.remote.model_digest,
            encoded_again=held.remote.handle != before,
        )

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Raises NotServingError when the service does not answer for long."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await call()
            except AuditFailedError:
                raise
            except NotServingError:
                if time.monotonic() + _PAUSE_S >= until_s:
                    raise
            await asyncio.sleep(_PAUSE_S)


async def _release(held: _Held) -> None:
    with suppress(ApsamError, TimeoutError):
        await asyncio.wait_for(held.remote.release(), _FAREWELL_S)
