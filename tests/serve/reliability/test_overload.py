"""Four times the load that the device can carry: who is let in is served, the others are told when
to come again, and health checks do not notice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.serve.reliability.asking import (
    Outcome,
    ask,
    ask_aio,
    check_declared,
    click,
    connect,
    connect_aio,
    hold,
)
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, percentile, report, scaled
from tests.serve.reliability.load import Shot, open_loop, poll_health
from tests.serve.reliability.server_process import ServerProcess, until

DEVICE_S = 0.01
MAX_PENDING = 64
NUM_STATIONS = 8
REFUSED = "RESOURCE_EXHAUSTED/OVERLOADED"


def test_at_four_times_capacity_the_accepted_are_served_and_the_others_told_at_once(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch(behaviour=Behaviour(decode_ms=DEVICE_S * 1000))
    seconds = scaled(short=4.0, full=30.0)
    alone, host_s, shots, checks = asyncio.run(_overload(server, bag_png, seconds))
    accepted = [shot for shot in shots if shot.outcome.code == "OK"]
    refused = [shot for shot in shots if shot.outcome.label == REFUSED]
    for shot in shots:
        check_declared(shot.outcome)
    alone_p99_s = percentile(alone, 0.99)
    accepted_p99_s = percentile([shot.latency_s for shot in accepted], 0.99)
    refused_p99_s = percentile([shot.latency_s for shot in refused], 0.99)
    bound_s = 1.5 * alone_p99_s + MAX_PENDING * (DEVICE_S + host_s)
    told = _told_over_true(accepted, refused)
    report(
        "overload",
        seconds=seconds,
        num_offered=len(shots),
        num_accepted=len(accepted),
        num_refused=len(refused),
        device_ms=1000 * DEVICE_S,
        host_ms=1000 * host_s,
        unloaded_p99_ms=1000 * alone_p99_s,
        accepted_p50_ms=1000 * percentile([shot.latency_s for shot in accepted], 0.5),
        accepted_p99_ms=1000 * accepted_p99_s,
        accepted_bound_ms=1000 * bound_s,
        refused_p50_ms=1000 * percentile([shot.latency_s for shot in refused], 0.5),
        refused_p99_ms=1000 * refused_p99_s,
        sender_late_p99_ms=1000 * percentile([shot.late_s for shot in shots], 0.99),
        told_over_true_p5=percentile(told, 0.05),
        told_over_true_p50=percentile(told, 0.5),
        told_over_true_p95=percentile(told, 0.95),
        num_health_checks=len(checks),
        health_p99_ms=1000 * percentile(checks, 0.99),
        health_max_ms=1000 * max(checks),
    )
    assert Counter(shot.outcome.label for shot in shots).keys() == {"OK", REFUSED}
    assert len(accepted) > 0.7 * seconds / DEVICE_S / BUSY
    assert len(refused) > len(shots) / 2
    assert accepted_p99_s <= bound_s * BUSY
    assert refused_p99_s < 0.020 * BUSY
    assert 1 / 3 <= percentile(told, 0.05) <= percentile(told, 0.95) <= 3
    assert len(checks) > 10 * seconds / BUSY
    assert percentile(checks, 0.99) < 0.050 * BUSY


def test_who_comes_again_when_told_is_let_in(launch: Launch, bag_png: bytes) -> None:
    server = launch(behaviour=Behaviour(decode_ms=DEVICE_S * 1000))
    refusal, again = asyncio.run(_refused_then_again(server, bag_png))
    assert refusal.label == REFUSED
    assert again.code == "OK", again


def _told_over_true(accepted: Sequence[Shot], refused: Sequence[Shot]) -> list[float]:
    """For each refusal the delay that it names over the time until all was answered that was in the
    server when it came; the last ones, which less and less follows, are left out."""
    ratios = []
    for refusal in refused:
        inside = [s.done_s for s in accepted if s.sent_s <= refusal.sent_s < s.done_s]
        assert refusal.outcome.retry_s is not None
        ratios.append(refusal.outcome.retry_s / (max(inside) - refusal.sent_s))
    return ratios


async def _overload(
    server: ServerProcess, image: bytes, seconds: float
) -> tuple[list[float], float, list[Shot], list[float]]:
    """(seconds of calls that come alone, seconds per call of a full server whose device takes no
    time, the overload, seconds of health checks meanwhile)."""
    async with AsyncExitStack() as open_channels:
        stations = await _stations(server, open_channels, image)

        async def send(number: int) -> Outcome:
            stub, handle = stations[number % NUM_STATIONS]
            return await ask_aio(stub.Segment, click(handle))

        server.behave(Behaviour())
        host_s = await _seconds_per_call(stations)
        # The clicks alone come second: the server has to learn how long one takes.
        server.behave(Behaviour(decode_ms=DEVICE_S * 1000))
        alone = [(await send(number)).seconds for number in range(scaled(short=100, full=500))]
        checks: list[float] = []
        polling = asyncio.create_task(poll_health(server.address, checks))
        shots = await open_loop(send, rate=4 / DEVICE_S, seconds=seconds, seed=7)
        assert not polling.done(), polling
        polling.cancel()
    return alone, host_s, shots, checks


async def _seconds_per_call(stations: Sequence[tuple[Any, str]]) -> float:
    """Of a server that always has as many calls as it takes."""
    num_rounds = scaled(short=5, full=20)

    async def caller(number: int) -> None:
        stub, handle = stations[number % NUM_STATIONS]
        for _ in range(num_rounds):
            assert (await ask_aio(stub.Segment, click(handle))).code == "OK"

    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(caller(number) for number in range(MAX_PENDING)))
    return (loop.time() - started) / (num_rounds * MAX_PENDING)


async def _refused_then_again(server: ServerProcess, image: bytes) -> tuple[Outcome, Outcome]:
    async with AsyncExitStack() as open_channels:
        stations = await _stations(server, open_channels, image)
        server.behave(Behaviour(closed=True))
        waiting = [
            asyncio.create_task(ask_aio(stub.Segment, click(handle)))
            for stub, handle in stations * (MAX_PENDING // NUM_STATIONS)
        ]
        depth = 'apsam_queue_depth{class="click"}'
        await asyncio.to_thread(
            until, lambda: server.metric(depth) == MAX_PENDING, "as many calls as it takes"
        )
        stub, handle = stations[0]
        refusal = await ask_aio(stub.Segment, click(handle))
        server.behave(Behaviour(decode_ms=DEVICE_S * 1000))
        await asyncio.sleep((refusal.retry_s or 0.0) * BUSY)
        again = await ask_aio(stub.Segment, click(handle))
        assert [outcome.code for outcome in await asyncio.gather(*waiting)] == ["OK"] * MAX_PENDING
    return refusal, again


async def _stations(
    server: ServerProcess, open_channels: AsyncExitStack, image: bytes
) -> list[tuple[Any, str]]:
    """(stub, handle) of stations with a connection each, which have clicked once."""
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, image)
        assert ask(stub.Segment, click(handle)).code == "OK"
    stations = []
    for _ in range(NUM_STATIONS):
        opened, stub = connect_aio(server.address)
        await open_channels.enter_async_context(opened)
        assert (await ask_aio(stub.Segment, click(handle))).code == "OK"
        stations.append((stub, handle))
    return stations
