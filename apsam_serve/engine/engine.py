"""The engine's face: encode, segment, release, as coroutines of one event loop.

Images are decoded and masks are packed on thread pools, graphs run on the worker's thread; the loop
itself, which alone touches the store, never waits for any of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Prompt, check_prompts, to_decoder
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine import compute, host
from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.replies import EncodeReply, Pack, SegmentReply, Timings, added
from apsam_serve.engine.store import Lease, Store
from apsam_serve.engine.worker import AnyJob, ClickJob, EncodeJob, Worker
from apsam_serve.errors import NotServingError
from apsam_serve.prompting.base import Answer
from apsam_serve.runtime.base import Runner

T = TypeVar("T")
_SWEEP_S = 1.0
_DRAIN_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """What the store holds: an encoded image and where it lies in its frame."""

    encoded: Encoded
    frame: LetterBox


class Engine:
    """Nothing is touched before `open`; from `drain` on, new calls are refused."""

    def __init__(
        self,
        runner: Runner,
        *,
        store: Store[Held],
        limits: Limits,
        host_threads: int,
        max_pixels: int,
    ) -> None:
        self.store = store
        self.batcher: Batcher[AnyJob] = Batcher(limits)
        self.build = runner.build
        self._model = runner.model
        self._held_bytes = compute.encoded_bytes(runner.model, self.build.precision)
        self._max_pixels = max_pixels
        self._worker = Worker(runner, self.batcher)
        # Two pools: a click's mask must not wait behind other stations' large images.
        self._images = ThreadPoolExecutor(host_threads, thread_name_prefix="apsam-images")
        self._masks = ThreadPoolExecutor(host_threads, thread_name_prefix="apsam-masks")
        self._refusal = "the engine is loading; retry later"
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the graphs, then encode and click once, so that the first caller finds it warm.

        Raises BundleError or BackendUnavailableError.
        """
        await asyncio.to_thread(self._worker.open)
        await self._warm_up()
        self._sweeper = asyncio.create_task(self._sweep())
        self._refusal = ""

    async def drain(self, *, grace_s: float) -> None:
        """Refuse new calls from now on; return when the others are answered or the grace ends."""
        self._refusal = "the engine is draining; use another one"
        ends_s = time.monotonic() + grace_s
        while any(self.batcher.depth(kind) for kind in Kind) and time.monotonic() < ends_s:
            await asyncio.sleep(_DRAIN_POLL_S)

    async def close(self) -> None:
        """Stop after the batch that runs. Queued work fails with NotServingError."""
        self._refusal = "the engine is closed; use another one"
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.to_thread(self._worker.close)
        for pool in (self._images, self._masks):
            pool.shutdown(wait=False, cancel_futures=True)

    async def encode(self, data: bytes, *, deadline_s: float | None = None) -> EncodeReply:
        """Encode an image file and hold it. deadline_s: on the clock of time.monotonic.

        Raises InvalidImageError, OverloadedError, DeadlineExceededError or NotServingError.
        """
        with self._admitted(Kind.ENCODE):
            handle, frame, timings = await self._encode(data, deadline_s)
        return EncodeReply(
            handle=handle,
            height=frame.height,
            width=frame.width,
            ttl_s=self.store.ttl_s,
            held_bytes=self._held_bytes,
            timings_s=timings,
        )

    async def segment(
        self,
        source: str | bytes,
        prompts: Sequence[Prompt],
        *,
        strategy: StrategyName,
        apg: ApgConfig,
        pack: Pack,
        deadline_s: float | None = None,
    ) -> SegmentReply:
        """Answer prompts about a handle, or about an image file, which is not held afterwards.

        Raises what `encode` raises, InvalidPromptError and HandleGoneError.
        """
        ask = partial(self._ask, prompts=prompts, strategy=strategy, apg=apg, deadline_s=deadline_s)
        if isinstance(source, str):
            with self._admitted(Kind.CLICK):
                return await self._reply(*await ask(source), pack, {}, held=True)
        with self._admitted(Kind.ENCODE):
            handle, _, timings = await self._encode(source, deadline_s, prompts)
            try:
                answered = await ask(handle)
            finally:
                self.store.release(handle)
            return await self._reply(*answered, pack, timings, held=False)

    def release(self, handle: str) -> bool:
        """Forget a handle. False when it was gone already."""
        return self.store.release(handle)

    async def _encode(
        self, data: bytes, deadline_s: float | None, prompts: Sequence[Prompt] | None = None
    ) -> tuple[str, LetterBox, Timings]:
        with ExitStack() as on_error:
            reservation = self.store.reserve(self._held_bytes)
            on_error.callback(self.store.cancel, reservation)
            load = partial(
                host.load_image,
                data,
                max_pixels=self._max_pixels,
                side=self._model.side,
                prompts=prompts,
            )
            pixels, frame, loaded = await _in_pool(self._images, load)
            job = EncodeJob(frame=pixels, deadline_s=deadline_s)
            encoded, ran = await self._on_device(job, job.future, on_error)
            on_error.pop_all()
            handle = self.store.commit(reservation, Held(encoded=encoded, frame=frame))
        return handle, frame, added(loaded, ran)

    async def _ask(
        self,
        handle: str,
        *,
        prompts: Sequence[Prompt],
        strategy: StrategyName,
        apg: ApgConfig,
        deadline_s: float | None,
    ) -> tuple[list[Answer], LetterBox, Timings]:
        with ExitStack() as afterwards:
            lease: Lease[Held] = self.store.lease(handle)
            afterwards.callback(self.store.end_lease, lease)
            frame = lease.payload.frame
            check_prompts(prompts, height=frame.height, width=frame.width)
            question = Question(
                encoded=lease.payload.encoded,
                frame=frame,
                prompts=[to_decoder(prompt, frame) for prompt in prompts],
                strategy=strategy,
                apg=apg,
            )
            job = ClickJob(question=question, deadline_s=deadline_s)
            answers, ran = await self._on_device(job, job.future, afterwards)
        return answers, frame, ran

    async def _reply(
        self,
        answers: Sequence[Answer],
        frame: LetterBox,
        ran: Timings,
        pack: Pack,
        before: Timings,
        *,
        held: bool,
    ) -> SegmentReply:
        names = self._model.categories
        finish = partial(host.pack_answers, answers, frame, pack, categories=names)
        segmentations, finished = await _in_pool(self._masks, finish)
        return SegmentReply(
            segmentations=segmentations,
            height=frame.height,
            width=frame.width,
            ttl_s=self.store.ttl_s if held else None,
            timings_s=added(before, ran, finished),
        )

    @contextmanager
    def _admitted(self, kind: Kind) -> Iterator[None]:
        if self._refusal:
            raise NotServingError(self._refusal)
        self.batcher.admit(kind)
        try:
            yield
        finally:
            self.batcher.leave(kind)

    async def _on_device(self, job: AnyJob, future: Future[T], cleanup: ExitStack) -> T:
        """Run a job. A caller that is cancelled while the device works leaves at once; `cleanup`
        is then taken from it and done when the device is."""
        self._worker.push(job)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel():
                loop, later = asyncio.get_running_loop(), cleanup.pop_all()
                future.add_done_callback(lambda _: loop.call_soon_threadsafe(later.close))
            raise

    async def _warm_up(self) -> None:
        """One encode and one click of each strategy on an empty frame, beside the store."""
        side = self._model.side
        box = LetterBox.fit(height=side, width=side, side=side)
        encode = EncodeJob(frame=np.zeros((side, side, 3), np.uint8), deadline_s=None)
        encoded, _ = await self._on_device(encode, encode.future, ExitStack())
        prompts = [to_decoder(Prompt.click(side / 2, side / 2), box)]
        strategies: tuple[StrategyName, ...] = ("direct", "apg")
        for strategy in strategies:
            question = Question(
                encoded=encoded, frame=box, prompts=prompts, strategy=strategy, apg=ApgConfig()
            )
            click = ClickJob(question=question, deadline_s=None)
            await self._on_device(click, click.future, ExitStack())

    async def _sweep(self) -> None:
        """Give expired memory back even when nobody calls."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.store.expire()


async def _in_pool(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
