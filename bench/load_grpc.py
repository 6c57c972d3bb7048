"""Stations that encode and click through gRPC, each over a connection of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import grpc

from apsam_serve.client.channels import options
from apsam_serve.client.flows import segmentations
from apsam_serve.client.requests import FASTEST, segment_request
from apsam_serve.contract.masks import Mask
from apsam_serve.errors import ApsamError
from apsam_serve.progress import Progress
from apsam_serve.service import convert
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc
from bench.measure.loops import Reply, Send, Shot, closed_loop, open_loop
from bench.measure.workload import Workload

_MESSAGE_BYTES = 64 * 2**20
_TIMEOUT_S = 60.0
_CONNECT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How calls follow each other. rate: calls a second of all stations, None for a closed loop;
    seconds, num_calls: where it ends, whichever is first."""

    stations: int = 1
    concurrency: int = 1
    rate: float | None = None
    seconds: float | None = None
    num_calls: int | None = None
    seed: int = 0

    async def run(self, send: Send) -> list[Shot]:
        """In order of time. Raises ValueError for a loop without an end."""
        if self.rate is not None:
            return await open_loop(
                send,
                rate=self.rate,
                seconds=self.seconds,
                num_calls=self.num_calls,
                stations=self.stations,
                seed=self.seed,
            )
        return await closed_loop(
            send,
            stations=self.stations,
            concurrency=self.concurrency,
            seconds=self.seconds,
            num_calls=self.num_calls,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """What was measured. answers: the distinct masks that came back, by click; server_cpu_s: that
    the server spent on `clicks`, None where it cannot be read."""

    warm_up: list[Shot]
    clicks: list[Shot]
    encodes: list[Shot]
    answers: dict[int, list[Mask]]
    server_cpu_s: float | None


class Stations:
    """`async with Stations(address, workload, num=8) as stations:` has connected; no call is ever
    repeated. What is timed ends with the mask in the caller's hands: bool [H, W]. Raises
    RuntimeError where nobody answers."""

    def __init__(self, address: str, workload: Workload, *, num: int) -> None:
        self._address = address
        self._workload = workload
        self._num = num
        self._handles: list[str] = []
        self._spent: list[str] = []
        self._seen: defaultdict[int, dict[bytes, Mask]] = defaultdict(dict)

    async def __aenter__(self) -> Stations:
        own = [*options(_MESSAGE_BYTES), ("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(self._address, options=own) for _ in range(self._num)
        ]
        self._stubs: list[Any] = [
            pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
            for channel in self._channels
        ]
        for channel in self._channels:
            try:
                await asyncio.wait_for(channel.channel_ready(), _CONNECT_S)
            except TimeoutError:
                raise RuntimeError(
                    f"{self._address} does not answer within {_CONNECT_S:.0f} s; give --server the "
                    "HOST:PORT of an apsam-serve without TLS"
                ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for channel in self._channels:
            await channel.close()

    async def digest(self) -> str:
        """Of the model that new images are encoded with, "" without any. Raises RuntimeError where
        the server does not say."""
        try:
            info = await self._stubs[0].GetServerInfo(pb.GetServerInfoRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._refused("does not say what it serves", error) from error
        return str(info.models[0].digest) if info.models else ""

    async def hold(self) -> None:
        """Have the server hold every image of the workload. Raises RuntimeError where it will
        not."""
        for file in self._workload.files:
            request = pb.CreateEmbeddingRequest(image=pb.Image(file=file))
            try:
                reply = await self._stubs[0].CreateEmbedding(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                raise self._refused(f"does not hold image {len(self._handles)}", error) from error
            self._handles.append(reply.embedding.handle)

    async def release(self) -> None:
        """Have it forget them, and what `encode` left there."""
        for handle in (*self._handles, *self._spent):
            request = pb.DeleteEmbeddingRequest(handle=handle)
            try:
                await self._stubs[0].DeleteEmbedding(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError:  # gone with the server, or by itself
                continue
        self._handles.clear()
        self._spent.clear()

    async def click(self, number: int, station: int) -> Reply:
        """The next click of the workload with APG, on a held image."""
        place = number % len(self._workload.clicks)
        image, prompt = self._workload.clicks[place]
        request = segment_request([prompt], "apg", None, FASTEST)
        request.handle = self._handles[image]
        try:
            reply = await self._stubs[station].Segment(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return Reply(error=error.code().name)
        try:
            (answer,) = segmentations(reply, request.handle)
        except ApsamError as error:  # a mask that is damaged
            return Reply(error=error.reason)
        self._seen[place].setdefault(reply.segmentations[0].mask.data, answer.mask)
        return Reply(stages=answer.timings_s)

    async def encode(self, number: int, station: int) -> Reply:
        """The next image of the workload, as a file."""
        file = self._workload.files[number % len(self._workload.files)]
        request = pb.CreateEmbeddingRequest(image=pb.Image(file=file))
        try:
            reply = await self._stubs[station].CreateEmbedding(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return Reply(error=error.code().name)
        self._spent.append(reply.embedding.handle)
        return Reply(stages=convert.timings_from(reply.timings))

    def answers(self) -> dict[int, list[Mask]]:
        """The distinct masks of every click that was answered."""
        return {place: list(masks.values()) for place, masks in self._seen.items()}

    def _refused(self, what: str, error: grpc.aio.AioRpcError) -> RuntimeError:
        return RuntimeError(f"{self._address} {what}: {error.code().name}, {error.details()}")


async def load(
    address: str,
    workload: Workload,
    loop: Loop,
    *,
    warm_up: int,
    num_encodes: int,
    digest: str = "",
    cpu_s: Callable[[], float] | None = None,
) -> Load:
    """Hold the images, click without measuring, click, encode: the last in a closed loop always.
    cpu_s: the server's processor time so far.

    Raises RuntimeError where another model answers than the one with that digest ("" for any), or
    the server does not hold the images.
    """
    with Progress("load", calm=True) as bar:
        async with Stations(address, workload, num=loop.stations) as stations:
            if digest and (found := await stations.digest()) != digest:
                raise RuntimeError(
                    f"{address} serves model {found[:12] or 'none'}, the bundle is "
                    f"{digest[:12]}; give --bundle the one that is served"
                )
            bar.show(0, f"{len(workload.images)} images to hold, {warm_up} clicks to warm up")
            await stations.hold()
            slowly = Loop(stations=loop.stations, num_calls=warm_up)
            before = await slowly.run(stations.click)
            bar.show(1 / 3, "clicks")
            spent_s = cpu_s() if cpu_s is not None else None
            clicks = await loop.run(stations.click)
            if cpu_s is not None and spent_s is not None:
                spent_s = cpu_s() - spent_s
            bar.show(2 / 3, f"{num_encodes} images to encode")
            closed = replace(loop, rate=None, num_calls=num_encodes)
            encodes = await closed.run(stations.encode)
            await stations.release()
            bar.show(1, "all answered")
            return Load(
                warm_up=before,
                clicks=clicks,
                encodes=encodes,
                answers=stations.answers(),
                server_cpu_s=spent_s,
            )
