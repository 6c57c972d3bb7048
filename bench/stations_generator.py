"""Stations that click as fast as they are answered, in a process of their own.

Light, because it shares its processors with the server: ready-made requests, and of the answers
only what differs is kept. Nothing is unpacked here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc

from apsam_serve.service.convert import timings_from
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc
from bench.measure.loops import Reply, Shot, closed_loop

_TIMEOUT_S = 30.0
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
"""Else gRPC joins channels to one address, and the server sees one station."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A mask that a click was answered with. station, click: their numbers; crc32: of the mask."""

    station: int
    click: int
    crc32: int


@dataclass(kw_only=True)
class Heard:
    """shots: of the measured time, in order of sending; masks, times: every mask that came, once,
    and how often it did; cpu_s: processor time of this process for `num_calls`, warm-up
    included."""

    shots: list[Shot] = field(default_factory=list)
    masks: dict[Answer, bytes] = field(default_factory=dict)
    times: Counter[Answer] = field(default_factory=Counter)
    cpu_s: float = 0.0
    num_calls: int = 0


def click(
    address: str, requests: Sequence[Sequence[bytes]], *, warm_up_s: float, seconds: float
) -> Heard:
    """requests: of each station its `SegmentRequest`s, which it sends in turn, one at a time."""
    return asyncio.run(_click(address, requests, warm_up_s=warm_up_s, seconds=seconds))


async def _click(
    address: str, requests: Sequence[Sequence[bytes]], *, warm_up_s: float, seconds: float
) -> Heard:
    heard = Heard()
    async with AsyncExitStack() as stack:
        stations = []
        for number, asked in enumerate(requests):
            channel = grpc.aio.insecure_channel(address, options=_OWN_CONNECTION)
            await stack.enter_async_context(channel)
            await channel.channel_ready()
            stations.append(_Station(number, channel, asked, heard))

        async def send(number: int, station: int) -> Reply:
            return await stations[station].ask()

        started = time.process_time()
        warm_up = await closed_loop(send, stations=len(stations), seconds=warm_up_s)
        heard.shots = await closed_loop(send, stations=len(stations), seconds=seconds)
        heard.cpu_s = time.process_time() - started
        heard.num_calls = len(warm_up) + len(heard.shots)
    return heard


class _Station:
    def __init__(
        self, number: int, channel: grpc.aio.Channel, asked: Sequence[bytes], heard: Heard
    ) -> None:
        self._number = number
        stub: Any = pb_grpc.SegmentationServiceStub
        self._segment = stub(channel).Segment
        self._requests = [pb.SegmentRequest.FromString(one) for one in asked]
        self._heard = heard
        self._turn = 0

    async def ask(self) -> Reply:
        click, self._turn = self._turn, (self._turn + 1) % len(self._requests)
        try:
            reply = await self._segment(self._requests[click], timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return Reply(error=error.code().name)
        mask = reply.segmentations[0].mask
        answer = Answer(station=self._number, click=click, crc32=mask.crc32)
        self._heard.times[answer] += 1
        if answer not in self._heard.masks:
            self._heard.masks[answer] = mask.SerializeToString()
        return Reply(stages=timings_from(reply.timings))
