from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from bench.measure.loops import Reply, closed_loop, open_loop
from bench.measure.rounds import interleaved


class OneAtATime:
    """A server that takes 10 ms per call and has one worker."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.seen: list[tuple[int, int]] = []
        self.most = 0
        self.inside = 0

    async def send(self, number: int, station: int) -> Reply:
        self.seen.append((number, station))
        self.inside += 1
        self.most = max(self.most, self.inside)
        async with self.lock:
            await asyncio.sleep(0.01)
        self.inside -= 1
        return Reply(stages={"work": 0.01}, error="" if number % 2 else "UNAVAILABLE")


def test_an_open_loop_counts_the_time_in_the_queue_of_a_server_that_falls_behind() -> None:
    async def run() -> tuple[OneAtATime, list[float]]:
        server = OneAtATime()
        shots = await open_loop(server.send, rate=400, num_calls=40, stations=4)
        assert {shot.station for shot in shots} == {0, 1, 2, 3}
        return server, [shot.latency_s for shot in shots]

    server, latencies = asyncio.run(run())
    assert server.most > 10  # nobody waited for an answer before sending
    assert latencies[-1] > 5 * latencies[0]
    assert latencies[-1] > 0.2  # 40 calls of 10 ms, offered within 100 ms


def test_an_open_loop_counts_from_the_intended_time_when_the_sender_itself_is_late() -> None:
    async def blocks(number: int, station: int) -> Reply:
        time.sleep(0.01)  # nothing else of this process is sent meanwhile
        return Reply()

    shots = asyncio.run(open_loop(blocks, rate=400, num_calls=40))
    last = shots[-1]
    assert last.done_s - last.sent_s < 0.1
    assert last.late_s > 0.15
    assert last.latency_s == pytest.approx(last.late_s + last.done_s - last.sent_s)


def test_poisson_arrivals_are_the_same_for_the_same_seed() -> None:
    async def nothing(number: int, station: int) -> Reply:
        return Reply()

    def gaps(seed: int) -> list[float]:
        shots = asyncio.run(open_loop(nothing, rate=10_000, num_calls=200, seed=seed))
        return [b.intended_s - a.intended_s for a, b in pairwise(shots)]

    assert gaps(1) == pytest.approx(gaps(1), abs=1e-9)
    assert gaps(1) != pytest.approx(gaps(2), abs=1e-9)
    assert sum(gaps(1)) == pytest.approx(199 / 10_000, rel=0.3)


@pytest.mark.parametrize(("stations", "concurrency", "most"), [(1, 1, 1), (1, 3, 3), (2, 2, 4)])
def test_a_closed_loop_keeps_so_many_calls_in_flight(
    stations: int, concurrency: int, most: int
) -> None:
    async def run() -> OneAtATime:
        server = OneAtATime()
        shots = await closed_loop(
            server.send, stations=stations, concurrency=concurrency, num_calls=8
        )
        assert [shot.error for shot in shots].count("UNAVAILABLE") == 4
        return server

    server = asyncio.run(run())
    assert server.most == most
    assert sorted(number for number, _ in server.seen) == list(range(8))
    assert {station for _, station in server.seen} == set(range(stations))


def test_a_loop_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="without an end; give seconds or num_calls"):
        asyncio.run(closed_loop(OneAtATime().send))
    with pytest.raises(ValueError, match="without an end; give seconds or num_calls"):
        asyncio.run(open_loop(OneAtATime().send, rate=1))


def test_rounds_take_every_case_once_in_changing_order_and_leave_the_warm_up_out() -> None:
    calls: list[str] = []
    cases = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    found = interleaved(cases, rounds=6, warm_up=2)
    rounds = ["".join(calls[first : first + 3]) for first in range(0, 24, 3)]
    assert {name: len(values) for name, values in found.items()} == {"a": 6, "b": 6, "c": 6}
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) > 1
