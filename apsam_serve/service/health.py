"""Health over the standard protocol: facts, told where they change."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as aio_health

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
VERIFIED = "apsam.verified"
"""SERVING only while the build that is served has passed its gate (`--allow-unverified`)."""


class Health:
    """NOT_SERVING until `serving`, and again from `not_serving` on, for the server as a whole, for
    each named service and for `VERIFIED`; also while something that answers need is broken."""

    def __init__(self, *services: str) -> None:
        self._services = [OVERALL_HEALTH, *services]
        self._servicer = aio_health.HealthServicer()
        self._welcome = False
        self._verified = False
        self._broken: set[str] = set()
        self._telling = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_serving(self) -> bool:
        """What the server as a whole is told to be."""
        return self._welcome and not self._broken

    async def add_to(self, server: grpc.aio.Server, *services: str) -> None:
        """Register the health service, for these services too; it answers NOT_SERVING."""
        self._services += services
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        await self._tell()

    async def serving(self, *, verified: bool) -> None:
        """The model is warm and calls are welcome."""
        self._welcome, self._verified = True, verified
        await self._tell()

    async def not_serving(self) -> None:
        """Loading or draining: balancers should look elsewhere."""
        self._welcome = False
        await self._tell()

    async def switched(self, *, verified: bool) -> None:
        """Another build is served, whether or not calls are welcome now."""
        self._verified = verified
        await self._tell()

    def works(self, what: str, healthy: bool) -> None:
        """Something that answers need, like the device, is broken or works again. Belongs to
        the event loop."""
        (self._broken.discard if healthy else self._broken.add)(what)
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._telling:  # or an older fact could be told last
            for name in self._services:
                await self._servicer.set(name, _SERVING if self.is_serving else _NOT_SERVING)
            verified = self.is_serving and self._verified
            await self._servicer.set(VERIFIED, _SERVING if verified else _NOT_SERVING)
