"""The engine under load, with runners that wait until the test lets them go on."""

from __future__ import annotations

import asyncio
import time

import pytest

from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.batcher import Limits
from apsam_serve.engine.calls import Call
from apsam_serve.engine.replies import SegmentReply
from apsam_serve.errors import (
    DeadlineExceededError,
    HandleGoneError,
    InvalidImageError,
    InvalidInputError,
    InvalidPromptError,
    NotServingError,
    OverloadedError,
)
from tests.serve.engine.gated import GatedRunner, click, create, opened, until


def test_one_thread_uses_the_device(gated: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            replies = await asyncio.gather(*(create(engine, bag_png) for _ in range(4)))
            await asyncio.gather(*(click(engine, reply) for reply in replies))

    asyncio.run(scenario())
    assert gated.threads == {"apsam-device"}


def test_waiting_clicks_go_before_waiting_encodes_and_both_in_batches(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated, images=8) as engine:
            held = await create(engine, bag_png)
            gated.calls.clear()
            gated.gate.clear()
            calls = [asyncio.ensure_future(create(engine, bag_png)) for _ in range(3)]
            await until(lambda: len(gated.calls) == 1)
            calls += [asyncio.ensure_future(click(engine, held)) for _ in range(3)]
            await asyncio.sleep(0.05)
            gated.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())
    assert gated.calls[1] == "decode 3"
    assert sum(int(call.split()[1]) for call in gated.calls if "encode" in call) == 3


def test_a_call_whose_caller_has_gone_is_never_started_and_leaves_nothing_behind(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            gated.calls.clear()
            gated.gate.clear()
            calls = [Call() for _ in range(3)]
            running = asyncio.ensure_future(click(engine, held, call=calls[0]))
            await until(lambda: len(gated.calls) == 1)
            waiting = [
                asyncio.ensure_future(click(engine, held, call=calls[1])),
                asyncio.ensure_future(create(engine, bag_png, calls[2])),
            ]
            await asyncio.sleep(0.05)
            for call in calls:
                call.gone = True
            gated.gate.set()
            done = await asyncio.gather(running, *waiting, return_exceptions=True)
            assert isinstance(done[0], SegmentReply)
            assert all(isinstance(one, asyncio.CancelledError) for one in done[1:])
            await click(engine, held)

    asyncio.run(scenario())
    assert gated.calls == ["decode 1", "decode 1"]


def test_an_image_is_not_even_decoded_for_a_caller_who_has_gone(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            with pytest.raises(asyncio.CancelledError):
                await create(engine, b"would be an error", Call(gone=True))

    asyncio.run(scenario())


def test_a_deadline_that_passes_in_the_queue_fails_the_call_unstarted(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            gated.calls.clear()
            gated.gate.clear()
            running = asyncio.ensure_future(click(engine, held))
            await until(lambda: len(gated.calls) == 1)
            soon = Call(deadline_s=time.monotonic() + 0.2)
            late = asyncio.ensure_future(click(engine, held, call=soon))
            await asyncio.sleep(0.25)
            gated.gate.set()
            with pytest.raises(DeadlineExceededError, match="nothing was started"):
                await late
            await running

    asyncio.run(scenario())
    assert gated.calls == ["decode 1"]


def test_a_full_queue_refuses_at_once_and_says_when_to_retry(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated, limits=Limits(max_pending_clicks=2)) as engine:
            held = await create(engine, bag_png)
            gated.gate.clear()
            calls = [asyncio.ensure_future(click(engine, held)) for _ in range(2)]
            await asyncio.sleep(0.01)
            with pytest.raises(OverloadedError, match="2 click requests") as caught:
                await click(engine, held)
            assert caught.value.retry_after_s > 0
            gated.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_bad_input_leaves_the_books_as_they_were(gated: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            with pytest.raises(InvalidImageError):
                await create(engine, b"not an image")
            with pytest.raises(InvalidPromptError, match="outside the image of 80 x 60"):
                await click(engine, bag_png, Prompt.click(500, 5))
            assert gated.calls == []
            held = await create(engine, bag_png)
            with pytest.raises(InvalidPromptError, match="is not a number"):
                await click(engine, held, Prompt.click(float("nan"), 5))
            assert engine.delete(held, Call())
            with pytest.raises(HandleGoneError, match="was deleted"):
                await click(engine, held)
            with pytest.raises(InvalidInputError, match="ttl is 0 s; give above 0, and at most"):
                await create(engine, bag_png, ttl_s=0)

    asyncio.run(scenario())


def test_a_closed_engine_fails_what_waits_and_refuses_the_rest(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            gated.calls.clear()
            gated.gate.clear()
            running = asyncio.ensure_future(click(engine, held))
            await until(lambda: len(gated.calls) == 1)
            waiting = asyncio.ensure_future(click(engine, held))
            await asyncio.sleep(0.02)
            closing = asyncio.ensure_future(engine.close())
            await asyncio.sleep(0.02)
            gated.gate.set()
            with pytest.raises(NotServingError, match="before this work started"):
                await waiting
            await asyncio.gather(running, closing, return_exceptions=True)
            with pytest.raises(NotServingError, match="closed"):
                await create(engine, bag_png)

    asyncio.run(scenario())


def test_who_watches_is_told_of_every_batch(gated: GatedRunner, bag_png: bytes) -> None:
    seen: list[tuple[str, int, int]] = []

    async def scenario() -> None:
        async with opened(gated) as engine:
            engine.observe = lambda kind, jobs, queued_s: seen.append((kind, jobs, len(queued_s)))
            await click(engine, await create(engine, bag_png))

    asyncio.run(scenario())
    assert seen == [("encode", 1, 1), ("click", 1, 1)]
