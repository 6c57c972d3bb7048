"""Closed and open loops of calls, with asyncio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of a call. stages: seconds, as the server reports them; error: "", or the name of
    the gRPC code."""

    stages: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


Send = Callable[[int, int], Awaitable[Reply]]
"""send(number of the call, number of the station)."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One call. intended_s, sent_s, done_s: on one clock. What counts is the time since it was
    intended: a sender that falls behind must not make the server look fast."""

    intended_s: float
    sent_s: float
    done_s: float
    stages: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    station: int = 0

    @property
    def latency_s(self) -> float:
        """What a person waited."""
        return self.done_s - self.intended_s

    @property
    def late_s(self) -> float:
        """The sender's own share."""
        return self.sent_s - self.intended_s


async def closed_loop(
    send: Send,
    *,
    stations: int = 1,
    concurrency: int = 1,
    seconds: float | None = None,
    num_calls: int | None = None,
) -> list[Shot]:
    """Each of the stations keeps `concurrency` calls in flight, the next one when one is answered,
    for so many seconds or until so many calls in all (whichever is first). In order of sending.

    Raises ValueError where neither is given.
    """
    if seconds is None and num_calls is None:
        raise ValueError("a closed loop without an end; give seconds or num_calls")
    shots: list[Shot] = []
    numbers: Iterator[int] = count() if num_calls is None else iter(range(num_calls))
    ends_s = float("inf") if seconds is None else time.perf_counter() + seconds

    async def work(station: int) -> None:
        while time.perf_counter() < ends_s and (number := next(numbers, None)) is not None:
            now_s = time.perf_counter()
            shots.append(await _shoot(send, number, station, intended_s=now_s))

    async with asyncio.TaskGroup() as group:
        for station in range(stations):
            for _ in range(concurrency):
                group.create_task(work(station))
    return sorted(shots, key=lambda shot: shot.sent_s)


async def open_loop(
    send: Send,
    *,
    rate: float,
    seconds: float | None = None,
    num_calls: int | None = None,
    stations: int = 1,
    seed: int = 0,
) -> list[Shot]:
    """Poisson arrivals, `rate` a second over all stations in turns, whether or not earlier calls
    are answered. In order of the intended time. Raises ValueError where there is no end."""
    if seconds is None and num_calls is None:
        raise ValueError("an open loop without an end; give seconds or num_calls")
    draw = random.Random(seed)
    shots: list[Shot] = []
    began_s = intended_s = time.perf_counter()
    ends_s = float("inf") if seconds is None else began_s + seconds
    most = float("inf") if num_calls is None else num_calls

    async def shoot(number: int, intended_s: float) -> None:
        shots.append(await _shoot(send, number, number % stations, intended_s=intended_s))

    async with asyncio.TaskGroup() as group:
        number = 0
        while number < most and (intended_s := intended_s + draw.expovariate(rate)) < ends_s:
            if (rest_s := intended_s - time.perf_counter()) > 0:
                await asyncio.sleep(rest_s)
            group.create_task(shoot(number, intended_s))
            number += 1
    return sorted(shots, key=lambda shot: shot.intended_s)


async def _shoot(send: Send, number: int, station: int, *, intended_s: float) -> Shot:
    sent_s = time.perf_counter()
    reply = await send(number, station)
    return Shot(
        intended_s=intended_s,
        sent_s=sent_s,
        done_s=time.perf_counter(),
        stages=reply.stages,
        error=reply.error,
        station=station,
    )
