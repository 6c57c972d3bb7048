"""The engine's face: what a service asks of it, as coroutines of one event loop.

Images are decoded and masks are packed on thread pools, graphs run on the worker's thread; the loop
itself, which alone touches the store, never waits for any of them, and packs only a small mask that
nobody else waits behind. A coroutine runs to its end, whatever becomes of its caller: who stops
waiting says so in `Call.gone`, and does not cancel it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import ImageInput
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine import host
from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.engine.calls import Call
from apsam_serve.engine.pipeline import Asking, Held, Pipeline
from apsam_serve.engine.proposals import ProposeOptions, on_image
from apsam_serve.engine.pulse import Pulse
from apsam_serve.engine.replies import (
    CreateReply,
    Embedding,
    LoadedModel,
    Pack,
    ProposeReply,
    SegmentReply,
    Timings,
    added,
)
from apsam_serve.engine.store import Entry, Reservation, Store
from apsam_serve.engine.versions import Version, Versions, require_room
from apsam_serve.engine.warm_up import warm_up
from apsam_serve.engine.worker import AnyJob, Worker
from apsam_serve.errors import ApsamError, InvalidInputError, InvalidPromptError, NotServingError
from apsam_serve.runtime.base import Runner

_SWEEP_S = 1.0
_POLL_S = 0.01
_STUCK_S = 60.0
"""No batch takes that long on a device that works."""
_log = logging.getLogger("apsam_serve.engine")


class Engine:
    """Nothing is touched before `open`; from `drain` on, new calls are refused.

    observe: told of every batch (class, jobs, seconds each was queued), on the worker's thread.
    """

    def __init__(
        self,
        *,
        store: Store[Held],
        limits: Limits,
        host_threads: int,
        max_pixels: int,
        masks_per_image: int = 0,
        max_ttl_s: float = 3600.0,
    ) -> None:
        self.store = store
        self.store.removed = Held.forget
        self.server_id = store.server_id
        self.batcher: Batcher[AnyJob] = Batcher(limits)
        self.observe: Callable[[str, int, Sequence[float]], None] | None = None
        self._pulse = Pulse()
        self._versions = Versions()
        self._worker = Worker(self.batcher, self._on_batch)
        self._pipeline = Pipeline(
            self._worker,
            threads=host_threads,
            max_pixels=max_pixels,
            masks_per_image=masks_per_image,
        )
        self._masks_per_image = masks_per_image
        self._max_ttl_s = max_ttl_s
        self._refusal = "the engine is loading; retry later"
        self._switching = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def faults(self) -> Counter[str]:
        """Reason -> times that the device or the model failed."""
        return self._pulse.faults

    def on_health(self, listener: Callable[[bool], None]) -> None:
        """Be told when the device no longer works (False), and when it does again (True)."""
        self._pulse.listen(listener)

    async def open(self, runner: Runner, digest: str) -> None:
        """Load the first model, then encode and click, so that the first caller finds it warm.

        Raises BundleError or BackendUnavailableError.
        """
        self._loop = asyncio.get_running_loop()
        self._worker.open()
        self._pipeline.open()
        await self.switch(runner, digest)
        self._sweeper = asyncio.create_task(self._sweep())
        self._refusal = ""

    async def switch(self, runner: Runner, digest: str) -> None:
        """Load another model beside the current one, warm it up, then send new images to it. Images
        that are held stay with the model that encoded them; it goes when the last of them does.

        Raises BundleError or BackendUnavailableError, and then nothing has changed.
        """
        async with self._switching:
            version = self._versions.find(digest)
            if version is None:
                opening = partial(Version.open, runner, digest, num_masks=self._masks_per_image)
                version = await asyncio.to_thread(opening)
                try:
                    require_room(version, self.store.budget_bytes)
                    await warm_up(version, self._pipeline)
                except BaseException:
                    await asyncio.to_thread(version.close)
                    raise
            self._versions.make_current(version)
            self._drop_surplus()

    async def drain(self, *, grace_s: float) -> None:
        """Refuse new calls from now on; return when the others are answered or the grace ends."""
        self._refusal = "the engine is draining; use another one"
        ends_s = time.monotonic() + grace_s
        while any(self.batcher.depth(kind) for kind in Kind) and time.monotonic() < ends_s:
            await asyncio.sleep(_POLL_S)

    async def close(self, *, patience_s: float = _STUCK_S) -> None:
        """Stop after the batch that runs. Queued work fails with NotServingError. A batch that does
        not end in time keeps its memory, which goes with the process."""
        self._refusal = "the engine is closed; use another one"
        if self._sweeper is not None:
            self._sweeper.cancel()
        ended = await asyncio.to_thread(self._worker.close, patience_s)
        self._pipeline.close()
        if not ended:
            _log.error("the device has not answered for %.0f s; its memory stays", patience_s)
            return
        while any(version.num_users for version in self._versions):  # masks that are being packed
            await asyncio.sleep(_POLL_S)
        self.store.removed = lambda held: None  # the memory of what is held goes with its model
        for version in self._versions:
            await asyncio.to_thread(version.close)

    def models(self) -> list[LoadedModel]:
        """What is loaded, the current model first."""
        return [
            version.describe(
                current=version is self._versions.current,
                num_embeddings=self.store.count(version.digest),
            )
            for version in reversed(list(self._versions))
        ]

    async def create(
        self, image: ImageInput, call: Call, *, ttl_s: float | None = None
    ) -> CreateReply:
        """Encode an image and hold it.

        Raises InvalidInputError, InvalidImageError, OverloadedError, DeadlineExceededError,
        NotServingError, ModelFaultError or DeviceFaultError.
        """
        self._check_ttl(ttl_s)
        with (
            self._admitted(Kind.ENCODE, call),
            self._versions.use() as version,
            self._reserved(version) as reservation,
        ):
            held, timings = await self._pipeline.encode(version, image, call)
            handle = self.store.commit(
                reservation, held, owner=call.owner, group=version.digest, ttl_s=ttl_s
            )
        embedding = self._embedding(handle, self.store.get(handle, call.owner))
        return CreateReply(embedding=embedding, timings_s=timings)

    def get(self, handle: str, call: Call) -> Embedding:
        """What is known of a held image. Raises HandleGoneError."""
        return self._embedding(handle, self.store.get(handle, call.owner))

    def renew(self, handle: str, call: Call, *, ttl_s: float | None = None) -> Embedding:
        """Start its time to live again, or another one. Raises HandleGoneError."""
        self._check_ttl(ttl_s)
        return self._embedding(handle, self.store.renew(handle, call.owner, ttl_s))

    def delete(self, handle: str, call: Call) -> bool:
        """Forget a held image. False when it was gone already."""
        return self.store.delete(handle, call.owner)

    async def segment(
        self,
        source: str | ImageInput,
        prompts: Sequence[Prompt],
        call: Call,
        *,
        strategy: StrategyName,
        apg: ApgConfig,
        pack: Pack,
        slow: bool = False,
    ) -> SegmentReply:
        """Answer prompts about a handle, or about an image, which is not held afterwards. slow:
        whether `pack` can take long for a small mask too.

        Raises what `create` raises, InvalidPromptError and HandleGoneError.
        """
        async with self._image(source, call, prompts) as (held, before, entry):
            asking = Asking(strategy=strategy, apg=apg)
            keep = entry is not None
            answered = await self._pipeline.ask(held, prompts, call, asking, keep=keep)
            work = partial(
                host.pack_answers,
                answered.answers,
                answered.mask_ids,
                held.frame,
                pack,
                categories=held.version.model.categories,
            )
            threaded = slow or len(prompts) > 1
            num_pixels = None if threaded else held.frame.height * held.frame.width
            segmentations, packed = await self._pipeline.pack(work, num_pixels=num_pixels)
        return SegmentReply(
            segmentations=segmentations,
            height=held.frame.height,
            width=held.frame.width,
            model_digest=held.version.digest,
            image_digest=held.image_digest,
            expires_s=None if entry is None else time.time() + entry.ttl_s,
            timings_s=added(before, answered.timings_s, packed),
        )

    async def propose(
        self,
        source: str | ImageInput,
        call: Call,
        *,
        options: ProposeOptions,
        strategy: StrategyName,
        apg: ApgConfig,
        pack: Pack,
        include_attention: bool = False,
    ) -> ProposeReply:
        """Find objects in a held image, or in one that is sent along, without a click.

        Raises what `segment` raises.
        """
        async with self._image(source, call, ()) as (held, before, entry):
            asking = Asking(strategy=strategy, apg=apg)
            proposals, spent = await self._pipeline.propose(held, call, asking, options, pack)
            attention = on_image(held.encoded.attention, held.frame) if include_attention else None
        return ProposeReply(
            proposals=proposals,
            attention=attention,
            height=held.frame.height,
            width=held.frame.width,
            model_digest=held.version.digest,
            image_digest=held.image_digest,
            expires_s=None if entry is None else time.time() + entry.ttl_s,
            timings_s=added(before, spent),
        )

    @asynccontextmanager
    async def _image(
        self, source: str | ImageInput, call: Call, prompts: Sequence[Prompt]
    ) -> AsyncIterator[tuple[Held, Timings, Entry[Held] | None]]:
        """The image to ask about, seconds spent on it, and what the store has of it, None for an
        image that was sent along, which is forgotten after the block."""
        if isinstance(source, str):
            with self._admitted(Kind.CLICK, call):
                entry = self.store.get(source, call.owner)
                lease = self.store.lease(source, call.owner)
                try:
                    with self._versions.use(lease.payload.version.digest):
                        yield lease.payload, {}, entry
                finally:
                    self.store.end_lease(lease)
            return
        if any(prompt.mask_id for prompt in prompts):
            raise InvalidPromptError("an image sent along has no mask_id to refine; give a handle")
        with (
            self._admitted(Kind.ENCODE, call),
            self._versions.use() as version,
            self._reserved(version),
        ):
            held, timings = await self._pipeline.encode(version, source, call, prompts)
            try:
                yield held, timings, None
            finally:
                held.forget()

    @contextmanager
    def _admitted(self, kind: Kind, call: Call) -> Iterator[None]:
        if self._refusal:
            raise NotServingError(self._refusal)
        now_s, station = time.monotonic(), call.station
        self.batcher.admit(kind, now_s=now_s, station=station, deadline_s=call.deadline_s)
        try:
            yield
        finally:
            self.batcher.leave(kind, station=station)

    @contextmanager
    def _reserved(self, version: Version) -> Iterator[Reservation]:
        """Room for an image of that model, given back after the block unless it was committed."""
        reservation = self.store.reserve(version.compute.held_bytes)
        try:
            yield reservation
        finally:
            self.store.cancel(reservation)

    def _check_ttl(self, ttl_s: float | None) -> None:
        if ttl_s is not None and not 0 < ttl_s <= self._max_ttl_s:
            raise InvalidInputError(
                f"ttl is {ttl_s} s; give above 0, and at most {self._max_ttl_s} s"
            )

    def _embedding(self, handle: str, entry: Entry[Held]) -> Embedding:
        # The store's clock has no date.
        epoch_s = time.time() - time.monotonic()
        held = entry.payload
        return Embedding(
            handle=handle,
            height=held.frame.height,
            width=held.frame.width,
            created_s=epoch_s + entry.created_s,
            expires_s=epoch_s + entry.expires_s,
            ttl_s=entry.ttl_s,
            held_bytes=entry.num_bytes,
            owner=entry.owner,
            model_digest=held.version.digest,
            image_digest=held.image_digest,
        )

    def _on_batch(
        self, kind: Kind, queued_s: Sequence[float], faults: Sequence[BaseException]
    ) -> None:
        if self.observe is not None:
            self.observe(kind.value, len(queued_s), queued_s)
        if faults and self._loop is not None:
            self._loop.call_soon_threadsafe(self._pulse.note, faults)

    async def _sweep(self) -> None:
        """Give expired memory back even when nobody calls, close models that are used no more, and
        see whether a broken device works again."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await self._look_after()
            except Exception:  # a model that cannot be closed must not end this for all others
                _log.exception("the engine could not look after its models")

    async def _look_after(self) -> None:
        self.store.expire()
        self._drop_surplus()  # what was being encoded when its model had to go is held since
        for version in self._versions:
            used = version.num_users or self.store.count(version.digest)
            if version is not self._versions.current and not used:
                self._versions.remove(version)
                await asyncio.to_thread(version.close)
        if self.batcher.running_s(time.monotonic()) > _STUCK_S:
            self._pulse.tried(False)
        elif self._pulse.suspected:
            self._pulse.tried(await self._works())

    def _drop_surplus(self) -> None:
        for old in self._versions.surplus():
            self.store.drop(old.digest)

    async def _works(self) -> bool:
        """Whether the current model answers on an empty image."""
        with self._versions.use() as version:
            try:
                async with asyncio.timeout(_STUCK_S):
                    await warm_up(version, self._pipeline)
            except (ApsamError, TimeoutError) as error:
                _log.error("the device does not work: %s", error)
                return False
            except Exception:
                _log.exception("the device does not work")
                return False
        return True
