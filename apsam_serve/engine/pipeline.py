"""An image's way in and a question's way through: thread pool, device, thread pool or, for a small
mask, the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier
from typing import TypeVar

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import ImageInput, Pixels
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Prompt, check_prompts, to_decoder
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine import host
from apsam_serve.engine.calls import Call
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.mask_planes import MaskPlanes
from apsam_serve.engine.proposals import ProposeOptions, peaks
from apsam_serve.engine.replies import Pack, Proposal, Timings, added
from apsam_serve.engine.versions import Version
from apsam_serve.engine.worker import ClickJob, EncodeJob, Worker
from apsam_serve.prompting.base import Answer

T = TypeVar("T")
_FEW_PIXELS = 2**18
"""Of one mask, which the event loop packs itself while nobody else is there to wait for it: the way
to a thread and back takes a quarter of the time that a mask of 512 x 512 does. Resizing and packing
that takes 1 to 2 ms; 12 as RLE where the model answers with a chequerboard of single cells."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """An encoded image: where it lies in its frame, the masks kept for it, who encoded it."""

    encoded: Encoded
    frame: LetterBox
    planes: MaskPlanes
    version: Version
    image_digest: str

    def forget(self) -> None:
        """Give its room back."""
        self.version.compute.forget(self.encoded)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How prompts become masks."""

    strategy: StrategyName
    apg: ApgConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Answers about one image, and the ids of their masks, "" where none is kept."""

    answers: Sequence[Answer]
    mask_ids: Sequence[str]
    timings_s: Timings = field(default_factory=dict)


class Pipeline:
    """Two pools, because a click's mask must not wait behind other stations' large images."""

    def __init__(
        self, worker: Worker, *, threads: int, max_pixels: int, masks_per_image: int
    ) -> None:
        self._worker = worker
        self._max_pixels = max_pixels
        self._masks_per_image = masks_per_image
        self._threads = threads
        self._images = ThreadPoolExecutor(threads, thread_name_prefix="apsam-images")
        self._masks = ThreadPoolExecutor(threads, thread_name_prefix="apsam-masks")

    def open(self) -> None:
        """Start all threads now, not under the first load."""
        for pool in (self._images, self._masks):
            everybody = Barrier(self._threads + 1)
            for _ in range(self._threads):
                pool.submit(everybody.wait)
            everybody.wait()

    def close(self) -> None:
        """Start nothing more."""
        for pool in (self._images, self._masks):
            pool.shutdown(wait=False, cancel_futures=True)

    async def encode(
        self, version: Version, image: ImageInput, call: Call, prompts: Sequence[Prompt] = ()
    ) -> tuple[Held, Timings]:
        """Decode, letter-box and encode an image. prompts: checked before the device works."""
        load = partial(
            host.load_image,
            image,
            max_pixels=self._max_pixels,
            side=version.model.side,
            prompts=prompts,
        )

        def unless_gone() -> host.Loaded:
            if call.gone:  # while it waited for the pool
                raise asyncio.CancelledError
            return load()

        loaded = await _in_pool(self._images, unless_gone)
        encoded, ran = await self.encode_frame(version, loaded.pixels, call)
        held = Held(
            encoded=encoded,
            frame=loaded.frame,
            planes=MaskPlanes(self._masks_per_image),
            version=version,
            image_digest=loaded.digest,
        )
        return held, added(loaded.timings_s, ran)

    async def ask(
        self, held: Held, prompts: Sequence[Prompt], call: Call, asking: Asking, *, keep: bool
    ) -> Answered:
        """Answer prompts about an image. keep: its low-resolution masks, for refining.

        Raises InvalidPromptError or MaskGoneError.
        """
        frame, planes = held.frame, held.planes
        check_prompts(prompts, height=frame.height, width=frame.width)
        with ExitStack() as reading:
            refine = [
                reading.enter_context(planes.reading(prompt.mask_id)) if prompt.mask_id else None
                for prompt in prompts
            ]
            kept = [planes.take() if keep else None for _ in prompts]
            try:
                question = Question(
                    encoded=held.encoded,
                    frame=frame,
                    prompts=[to_decoder(prompt, frame) for prompt in prompts],
                    refine=refine,
                    keep=kept,
                    strategy=asking.strategy,
                    apg=asking.apg,
                )
                answers, ran = await self.answer(held.version, question, call)
            except BaseException:
                for plane in kept:
                    if plane is not None:
                        planes.give_back(plane)
                raise
            ids = ["" if plane is None else planes.publish(plane) for plane in kept]
        return Answered(answers=answers, mask_ids=ids, timings_s=ran)

    async def propose(
        self, held: Held, call: Call, asking: Asking, options: ProposeOptions, pack: Pack
    ) -> tuple[list[Proposal], Timings]:
        """Ask about the peaks of an image's attention; its masks are not kept."""
        found = peaks(held.encoded.attention, held.frame, max_peaks=options.num_candidates)
        prompts = [Prompt(points=(peak.click,)) for peak in found]
        answered = Answered(answers=(), mask_ids=())
        if prompts:
            answered = await self.ask(held, prompts, call, asking, keep=False)
        work = partial(
            host.pack_proposals,
            found,
            answered.answers,
            held.frame,
            pack,
            options,
            categories=held.version.model.categories,
        )
        proposals, packed = await self.pack(work)
        return proposals, added(answered.timings_s, packed)

    async def pack(self, work: Callable[[], T], *, num_pixels: int | None = None) -> T:
        """Run what makes masks, for callers who have gone too: they may come back for the reply
        (`service.replays`), and the device has done its part. num_pixels: of the only mask, None
        for several, and for one that takes long whatever its size."""
        if num_pixels is not None and num_pixels <= _FEW_PIXELS and self._worker.num_calls == 1:
            return work()
        return await _in_pool(self._masks, work)

    async def encode_frame(
        self, version: Version, pixels: Pixels, call: Call
    ) -> tuple[Encoded, Timings]:
        """Encode letter-boxed pixels, [S, S, 3] each."""
        job = EncodeJob(call=call, compute=version.compute, group=version.digest, pixels=pixels)
        self._worker.push(job)
        return await _outcome(job.future)

    async def answer(
        self, version: Version, question: Question, call: Call
    ) -> tuple[list[Answer], Timings]:
        """Answer a question."""
        job = ClickJob(call=call, compute=version.compute, group=version.digest, question=question)
        self._worker.push(job)
        return await _outcome(job.future)


async def _outcome(future: Future[T]) -> T:
    """As asyncio.wrap_future with less to do: no click goes without it."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def wake() -> None:
        if not ended.done():
            ended.set_result(None)

    def tell(done: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(tell)
    try:
        await ended
    except asyncio.CancelledError:
        future.cancel()
        raise
    try:
        return future.result()
    except CancelledError:  # the worker's word for a call that has gone
        raise asyncio.CancelledError from None


async def _in_pool(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
