"""Callers who go away, in all numbers: nothing of them stays, and the device never hears of those
whose work had not begun."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import ask_aio, click, connect, connect_aio, create, hold
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import report, scaled
from tests.serve.reliability.rest import CLICKS, ENCODES, IMAGES, PROMPTS, Rest
from tests.serve.reliability.server_process import ServerProcess, until

NUM_CLICKS, NUM_ENCODES = 24, 16
"""Of a round; below what the server takes, so that each waits in a queue and none is refused."""
DEADLINE_S = 1.0
NUM_ANSWERED = 25
"""Clicks after each round, beside the one that held the device."""


def test_cancelled_and_expired_calls_leave_nothing_and_never_reach_the_device(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch()
    handle = _held(server, bag_png)
    asyncio.run(_rounds(server, handle, bag_png, num_rounds=1))
    before, seen = Rest.of(server), _on_device(server)
    num_rounds = scaled(short=3, full=25)
    ended = asyncio.run(_rounds(server, handle, bag_png, num_rounds=num_rounds))
    settled_s = before.require_again(server)
    now = _on_device(server)
    num_calls = num_rounds * (NUM_CLICKS + NUM_ENCODES)
    meant_for_it = num_rounds * (1 + NUM_ANSWERED)
    report(
        "cancelled_in_queue",
        num_cancelled=ended["CANCELLED"],
        num_expired=ended["DEADLINE_EXCEEDED"],
        num_images_on_device=int(now[0] - seen[0]),
        num_prompts_on_device=int(now[1] - seen[1]),
        num_prompts_meant_for_it=meant_for_it,
        settled_s=settled_s,
    )
    assert ended == {"CANCELLED": num_calls // 2, "DEADLINE_EXCEEDED": num_calls // 2}
    assert now == (seen[0], seen[1] + meant_for_it)


def test_calls_that_are_cancelled_at_any_moment_leave_nothing(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch("--ttl-s", "1")
    handle = _held(server, bag_png)
    asyncio.run(_at_random(server, handle, bag_png, 64))
    until(lambda: server.metric("apsam_store_entries") == 0, "no images held")
    before = Rest.of(server)
    num_calls = scaled(short=120, full=2000)
    ended = asyncio.run(_at_random(server, _held(server, bag_png), bag_png, num_calls))
    settled_s = before.require_again(server)
    report(
        "cancelled_at_random",
        num_calls=num_calls,
        num_cancelled=ended["CANCELLED"],
        num_answered=ended["OK"],
        settled_s=settled_s,
    )
    assert ended.total() == num_calls
    assert ended.keys() == {"OK", "CANCELLED"}
    assert min(ended.values()) > num_calls / 10


def _on_device(server: ServerProcess) -> tuple[float, float]:
    """(images, prompts) so far."""
    found = server.metrics()
    return found[IMAGES], found[PROMPTS]


def _held(server: ServerProcess, image: bytes) -> str:
    channel, stub = connect(server.address)
    with channel:
        return hold(stub, image)


def _calls(handle: str, image: bytes) -> Iterator[tuple[str, Any]]:
    """(method, request) that wait for the device as encodes, one after the other."""
    sent = pb.Image(file=image)
    prompts = click(handle).prompts
    while True:
        yield "CreateEmbedding", create(image)
        yield "Segment", pb.SegmentRequest(image=sent, prompts=prompts)
        yield "Propose", pb.ProposeRequest(image=sent)


async def _rounds(
    server: ServerProcess, handle: str, image: bytes, *, num_rounds: int
) -> Counter[str]:
    """Each round holds the device, queues calls behind it, cancels every second and lets the others
    expire. Returns how they ended."""
    ended: Counter[str] = Counter()
    encodes = _calls(handle, image)
    channel, stub = connect_aio(server.address)
    async with channel:
        for _ in range(num_rounds):
            server.behave(Behaviour(closed=True))
            prompts = server.metric(PROMPTS)
            holding = asyncio.create_task(ask_aio(stub.Segment, click(handle)))
            await _until(lambda n=prompts: server.metric(PROMPTS) > n, "a held device")
            asked = [("Segment", click(handle))] * NUM_CLICKS
            asked += [next(encodes) for _ in range(NUM_ENCODES)]
            calls = [
                getattr(stub, method)(request, timeout=DEADLINE_S if index % 2 else 60.0)
                for index, (method, request) in enumerate(asked)
            ]
            await _until(lambda: _depths(server) == (1 + NUM_CLICKS, NUM_ENCODES), "full queues")
            for call in calls[::2]:
                call.cancel()
            ended.update([(await call.code()).name for call in calls])
            server.behave(Behaviour())
            assert (await holding).code == "OK"
            await _until(lambda: _depths(server) == (0, 0), "empty queues")
            # Or the server would remember the held click, and refuse short deadlines as hopeless.
            for _ in range(NUM_ANSWERED):
                assert (await ask_aio(stub.Segment, click(handle))).code == "OK"
    return ended


async def _at_random(
    server: ServerProcess, handle: str, image: bytes, num_calls: int
) -> Counter[str]:
    """Calls of all kinds on a device that takes its time, each cancelled within a moment that was
    drawn; those that are faster are answered."""
    draw = random.Random(num_calls)
    encodes = _calls(handle, image)
    server.behave(Behaviour(decode_ms=2, encode_ms=4))
    channel, stub = connect_aio(server.address)

    async def one() -> str:
        method, request = draw.choice([("Segment", click(handle)), next(encodes)])
        call = getattr(stub, method)(request, timeout=60)
        await asyncio.wait({asyncio.ensure_future(call.code())}, timeout=draw.uniform(0, 0.2))
        call.cancel()
        return str((await call.code()).name)

    async def station() -> list[str]:
        return [await one() for _ in range(num_calls // 8)]

    async with channel:
        ended = await asyncio.gather(*(station() for _ in range(8)))
    return Counter(code for codes in ended for code in codes)


def _depths(server: ServerProcess) -> tuple[float, float]:
    found = server.metrics()
    return found[CLICKS], found[ENCODES]


async def _until(met: Any, what: str) -> None:
    await asyncio.to_thread(until, met, what)
