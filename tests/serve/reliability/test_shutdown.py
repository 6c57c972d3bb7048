"""The end of a server, asked for or not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apsam_serve.client import Client, Retries
from apsam_serve.contract.prompts import Prompt
from apsam_serve.service.audit_chain import verify
from tests.serve.reliability.asking import (
    Outcome,
    ask_aio,
    click,
    connect,
    connect_aio,
    create,
    hold,
)
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, report
from tests.serve.reliability.rest import CLICKS, IMAGES, PROMPTS
from tests.serve.reliability.server_process import ServerProcess, until

NUM_CALLS = 50
GRACE_S = 10.0
STUCK_S = 5.0
"""For which the server waits at its end for a device that does not answer."""


def test_sigterm_lets_all_calls_in_flight_finish_and_refuses_new_ones(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch("--grace-s", str(GRACE_S))
    finished, refused, health, ended_s = asyncio.run(_terminated_in_flight(server, bag_png))
    report(
        "sigterm",
        num_in_flight=len(finished),
        num_answered=sum(outcome.code == "OK" for outcome in finished),
        num_new=len(refused),
        num_new_refused=sum(outcome.label == "UNAVAILABLE/NOT_SERVING" for outcome in refused),
        exit_after_last_answer_s=ended_s,
        exit_code=server.wait(1),
    )
    assert [outcome.code for outcome in finished] == ["OK"] * NUM_CALLS
    assert [outcome.label for outcome in refused] == ["UNAVAILABLE/NOT_SERVING"] * len(refused)
    assert len(refused) == 3
    assert health == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.wait(1) == 0
    assert ended_s < 1.0 * BUSY
    assert "Traceback" not in server.said()


def test_a_device_that_never_answers_does_not_hold_the_process(
    launch: Launch, bag_png: bytes
) -> None:
    grace_s = 1.0
    server = launch("--grace-s", str(grace_s))
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, bag_png)
        server.behave(Behaviour(closed=True))
        stuck = [stub.Segment.future(click(handle), timeout=60) for _ in range(NUM_CALLS)]
        until(lambda: server.metric(CLICKS) == NUM_CALLS, "all calls in flight")
        server.terminate()
        started = time.monotonic()
        code = server.wait(30)
        ended_s = time.monotonic() - started
        ends = Counter(call.code().name for call in stuck)
    report("sigterm_stuck_device", exit_after_s=ended_s, grace_s=grace_s, exit_code=code)
    assert ended_s < grace_s + STUCK_S + 1 * BUSY
    assert ends.total() == NUM_CALLS
    assert "OK" not in ends


def test_a_second_signal_ends_the_server_at_once(launch: Launch, bag_png: bytes) -> None:
    server = launch("--grace-s", "60")
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, bag_png)
        server.behave(Behaviour(closed=True))
        prompts = server.metric(PROMPTS)
        stuck = stub.Segment.future(click(handle), timeout=60)
        until(lambda: server.metric(PROMPTS) > prompts, "a call on the device")
        server.terminate()
        until(lambda: "draining" in server.said(), "a server that drains")
        assert server.alive
        started = time.monotonic()
        server.terminate()
        assert server.wait(10) == 1
        ended_s = time.monotonic() - started
        assert stuck.code() is not None
    report("second_signal", exit_after_s=ended_s)
    assert ended_s < 1.0 * BUSY


def test_a_client_gets_over_a_server_that_is_killed_while_it_encodes(
    launch: Launch, bag_png: bytes, tmp_path: Path
) -> None:
    audit = ("--audit-log", str(tmp_path / "audit.jsonl"))
    server = launch(*audit)
    retries = Retries(max_attempts=60, max_pause_s=0.5)
    with Client(server.address, timeout_s=60, retries=retries) as client:
        image = client.encode(bag_png)
        before, first = image.segment([Prompt.click(20, 20)]), image.handle
        server.behave(Behaviour(encode_ms=60_000))
        images = server.metric(IMAGES)
        other: list[str] = []
        encoding = threading.Thread(target=lambda: other.append(client.encode(bag_png).handle))
        encoding.start()
        until(lambda: server.metric(IMAGES) > images, "an encode on the device")
        server.kill()
        started = time.monotonic()
        again = launch(*audit, listen=server.address)
        after = image.segment([Prompt.click(20, 20)])
        encoding.join(60)
        recovered_s = time.monotonic() - started
        assert image.handle != first
        assert image.handle.partition(".")[0] == other[0].partition(".")[0]
    assert np.array_equal(after[0].mask, before[0].mask)
    assert after[0].mask.any()
    again.terminate()
    assert again.wait(10) == 0
    report("kill_9", recovered_s=recovered_s, num_recovered=2)
    assert recovered_s < 10.0
    assert verify(tmp_path / "audit.jsonl").num_records >= 4


async def _terminated_in_flight(
    server: ServerProcess, image: bytes
) -> tuple[list[Outcome], list[Outcome], int, float]:
    """(calls in flight, new calls, health while draining, seconds from last answer to exit)."""
    channel, stub = connect_aio(server.address)
    async with channel:
        held = await ask_aio(stub.CreateEmbedding, create(image))
        handle = held.reply.embedding.handle
        server.behave(Behaviour(closed=True))
        calls = [
            asyncio.create_task(ask_aio(stub.Segment, click(handle))) for _ in range(NUM_CALLS)
        ]
        await asyncio.to_thread(
            until, lambda: server.metric(CLICKS) == NUM_CALLS, "all calls in flight"
        )
        server.terminate()
        await asyncio.to_thread(until, lambda: "draining" in server.said(), "a server that drains")
        refused = [await ask_aio(stub.Segment, click(handle)) for _ in range(2)]
        refused.append(await ask_aio(stub.CreateEmbedding, create(image)))
        checked = health_pb2_grpc.HealthStub(channel)
        health = (await checked.Check(health_pb2.HealthCheckRequest(), timeout=5)).status
        server.behave(Behaviour())
        finished = await asyncio.gather(*calls)
        answered = time.monotonic()
        await asyncio.to_thread(server.wait, GRACE_S + 1)
    return finished, refused, health, time.monotonic() - answered
