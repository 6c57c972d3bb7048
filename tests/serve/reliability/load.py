"""Calls that come when they come, whether or not the earlier ones are answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serve.reliability.asking import Outcome, options

Send = Callable[[int], Awaitable[Outcome]]
"""send(number of the call)."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """intended_s, sent_s, done_s: on one clock. What counts is the time since it was intended: a
    sender that falls behind must not make the server look fast."""

    intended_s: float
    sent_s: float
    done_s: float
    outcome: Outcome

    @property
    def latency_s(self) -> float:
        return self.done_s - self.intended_s

    @property
    def late_s(self) -> float:
        """The sender's own share."""
        return self.sent_s - self.intended_s


async def open_loop(send: Send, *, rate: float, seconds: float, seed: int) -> list[Shot]:
    """Poisson arrivals, `rate` a second."""
    draw = random.Random(seed)
    shots: list[Shot] = []
    began_s = intended_s = time.perf_counter()

    async def shoot(number: int, intended_s: float) -> None:
        sent_s = time.perf_counter()
        outcome = await send(number)
        done_s = time.perf_counter()
        shots.append(Shot(intended_s=intended_s, sent_s=sent_s, done_s=done_s, outcome=outcome))

    async with asyncio.TaskGroup() as group:
        number = 0
        while (intended_s := intended_s + draw.expovariate(rate)) < began_s + seconds:
            if (rest_s := intended_s - time.perf_counter()) > 0:
                await asyncio.sleep(rest_s)
            group.create_task(shoot(number, intended_s))
            number += 1
    return shots


async def poll_health(address: str, seconds: list[float], *, every_s: float = 0.02) -> None:
    """Ask the standard health service until cancelled; each answer must be SERVING."""
    async with grpc.aio.insecure_channel(address, options=options()) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while True:
            started = time.perf_counter()
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING, reply
            seconds.append(time.perf_counter() - started)
            await asyncio.sleep(every_s)
