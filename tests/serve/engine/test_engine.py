"""The engine under load, with runners that wait until the test lets them go on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.masks import pack_bits
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine import compute
from apsam_serve.engine.batcher import Kind, Limits
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.replies import SegmentReply
from apsam_serve.engine.store import Store
from apsam_serve.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    HandleGoneError,
    InvalidImageError,
    InvalidPromptError,
    NotServingError,
    OverloadedError,
)
from apsam_serve.runtime.base import EncodedBatch
from apsam_serve.runtime.fake import FakeRunner


class GatedRunner:
    """A double that logs its calls and can be held at its gate."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.inner = FakeRunner(model)
        self.build = self.inner.build
        self.opens = True
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.fails = False

    def open(self) -> None:
        if not self.opens:
            raise BackendUnavailableError("no device")

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        self._pass(f"encode {len(images)}")
        return self.inner.encode(images)

    def decode(self, **inputs: Any) -> Any:
        self._pass(f"decode {len(inputs['coords'])}")
        return self.inner.decode(**inputs)

    def _pass(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        if self.fails:
            raise MemoryError("device lost at 0xdead")


@pytest.fixture
def runner(model: ModelSpec) -> GatedRunner:
    return GatedRunner(model)


@asynccontextmanager
async def opened(
    runner: GatedRunner, *, images: int = 4, limits: Limits | None = None
) -> AsyncIterator[Engine]:
    """An engine with room for a few images. Its books must balance in the end."""
    engine = Engine(
        runner,
        store=Store(budget_bytes=images * compute.encoded_bytes(runner.model), ttl_s=60),
        limits=limits or Limits(),
        host_threads=2,
        max_pixels=10_000,
    )
    try:
        await engine.open()
        runner.calls.clear()
        yield engine
    finally:
        runner.gate.set()
        await engine.close()
        await asyncio.sleep(0)
        engine.store.check_integrity()
        assert engine.store.reserved_bytes == 0
        assert [engine.batcher.depth(kind) for kind in Kind] == [0, 0]


def click(
    engine: Engine, source: str | bytes, prompt: Prompt | None = None, **more: Any
) -> Awaitable[SegmentReply]:
    return engine.segment(
        source,
        [prompt or Prompt.click(20, 20)],
        strategy="direct",
        apg=ApgConfig(),
        pack=pack_bits,
        **more,
    )


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited 5 s in vain")


def test_one_thread_owns_the_device(runner: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            replies = await asyncio.gather(*(engine.encode(bag_png) for _ in range(4)))
            await asyncio.gather(*(click(engine, reply.handle) for reply in replies))

    asyncio.run(scenario())
    assert runner.threads == {"apsam-device"}


def test_waiting_clicks_go_before_waiting_encodes_and_both_in_batches(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner, images=8) as engine:
            held = await engine.encode(bag_png)
            runner.calls.clear()
            runner.gate.clear()
            calls = [asyncio.ensure_future(engine.encode(bag_png)) for _ in range(3)]
            await until(lambda: len(runner.calls) == 1)
            calls += [asyncio.ensure_future(click(engine, held.handle)) for _ in range(3)]
            await asyncio.sleep(0.05)
            runner.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())
    assert runner.calls[1] == "decode 3"
    assert sum(int(call.split()[1]) for call in runner.calls if "encode" in call) == 3


def test_a_cancelled_call_is_never_started_and_leaves_nothing_behind(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            held = await engine.encode(bag_png)
            runner.calls.clear()
            runner.gate.clear()
            running = asyncio.ensure_future(click(engine, held.handle))
            await until(lambda: len(runner.calls) == 1)
            waiting = [
                asyncio.ensure_future(click(engine, held.handle)),
                asyncio.ensure_future(engine.encode(bag_png)),
            ]
            await asyncio.sleep(0.05)
            for call in (running, *waiting):
                call.cancel()
            done = await asyncio.gather(running, *waiting, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in done)
            runner.gate.set()
            await click(engine, held.handle)

    asyncio.run(scenario())
    assert runner.calls == ["decode 1", "decode 1"]


def test_an_image_in_use_by_an_abandoned_call_is_not_evicted_until_the_device_is_done(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner, images=1) as engine:
            held = await engine.encode(bag_png)
            runner.calls.clear()
            runner.gate.clear()
            abandoned = asyncio.ensure_future(click(engine, held.handle))
            await until(lambda: len(runner.calls) == 1)
            abandoned.cancel()
            await asyncio.gather(abandoned, return_exceptions=True)
            with pytest.raises(OverloadedError, match="no room"):
                await engine.encode(bag_png)
            runner.gate.set()
            await until(lambda: engine.store.events["reject"] == 1 and runner.gate.is_set())
            await asyncio.sleep(0.05)
            await engine.encode(bag_png)

    asyncio.run(scenario())


def test_a_deadline_that_passes_in_the_queue_fails_the_call_unstarted(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            held = await engine.encode(bag_png)
            runner.calls.clear()
            runner.gate.clear()
            running = asyncio.ensure_future(click(engine, held.handle))
            await until(lambda: len(runner.calls) == 1)
            late = asyncio.ensure_future(
                click(engine, held.handle, deadline_s=time.monotonic() + 0.02)
            )
            await asyncio.sleep(0.05)
            runner.gate.set()
            with pytest.raises(DeadlineExceededError, match="nothing was started"):
                await late
            await running

    asyncio.run(scenario())
    assert runner.calls == ["decode 1"]


def test_a_full_queue_refuses_at_once_and_says_when_to_retry(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner, limits=Limits(max_pending_clicks=2)) as engine:
            held = await engine.encode(bag_png)
            runner.gate.clear()
            calls = [asyncio.ensure_future(click(engine, held.handle)) for _ in range(2)]
            await asyncio.sleep(0.01)
            with pytest.raises(OverloadedError, match="2 click requests") as caught:
                await click(engine, held.handle)
            assert caught.value.retry_after_s > 0
            runner.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_bad_input_leaves_the_books_as_they_were(runner: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            with pytest.raises(InvalidImageError):
                await engine.encode(b"not an image")
            with pytest.raises(InvalidPromptError, match="outside the image of 80 x 60"):
                await click(engine, bag_png, Prompt.click(500, 5))
            assert runner.calls == []
            held = await engine.encode(bag_png)
            with pytest.raises(InvalidPromptError, match="is not a number"):
                await click(engine, held.handle, Prompt.click(float("nan"), 5))
            assert engine.release(held.handle)
            with pytest.raises(HandleGoneError, match="was released"):
                await click(engine, held.handle)

    asyncio.run(scenario())


def test_an_image_that_comes_along_is_not_held(runner: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            reply = await click(engine, bag_png)
            assert (reply.height, reply.width, reply.ttl_s) == (60, 80, None)
            assert engine.store.held_bytes == 0
            stages = {"queue", "image", "encode", "decode_1", "points", "mask", "serialise"}
            assert stages <= set(reply.timings_s)

    asyncio.run(scenario())


def test_a_fault_of_the_device_fails_the_call_and_the_next_one_works(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            held = await engine.encode(bag_png)
            runner.fails = True
            with pytest.raises(MemoryError):
                await click(engine, held.handle)
            with pytest.raises(MemoryError):
                await engine.encode(bag_png)
            runner.fails = False
            await click(engine, held.handle)

    asyncio.run(scenario())


def test_a_closed_engine_fails_what_waits_and_refuses_the_rest(
    runner: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(runner) as engine:
            held = await engine.encode(bag_png)
            runner.calls.clear()
            runner.gate.clear()
            running = asyncio.ensure_future(click(engine, held.handle))
            await until(lambda: len(runner.calls) == 1)
            waiting = asyncio.ensure_future(click(engine, held.handle))
            await asyncio.sleep(0.02)
            closing = asyncio.ensure_future(engine.close())
            await asyncio.sleep(0.02)
            runner.gate.set()
            with pytest.raises(NotServingError, match="before this work started"):
                await waiting
            await asyncio.gather(running, closing, return_exceptions=True)
            with pytest.raises(NotServingError, match="closed"):
                await engine.encode(bag_png)

    asyncio.run(scenario())


def test_a_runner_that_cannot_open_stops_the_start(runner: GatedRunner) -> None:
    async def scenario() -> None:
        async with opened(runner):
            pass

    runner.opens = False
    with pytest.raises(BackendUnavailableError, match="no device"):
        asyncio.run(scenario())
