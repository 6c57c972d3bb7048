"""Health over the standard protocol: a fact, set where it changes."""

from __future__ import annotations

from collections.abc import Sequence

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
    each named service and for `VERIFIED`."""

    def __init__(self, *services: str) -> None:
        self._names = (OVERALL_HEALTH, *services, VERIFIED)
        self._servicer = aio_health.HealthServicer()

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Register the health service; it answers NOT_SERVING."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        await self.not_serving()

    async def serving(self, *, verified: bool) -> None:
        """The model is warm and calls are welcome."""
        await self._set([n for n in self._names if verified or n != VERIFIED], _SERVING)

    async def not_serving(self) -> None:
        """Loading or draining: balancers should look elsewhere."""
        await self._set(self._names, _NOT_SERVING)

    async def _set(self, names: Sequence[str], status: int) -> None:
        for name in names:
            await self._servicer.set(name, status)
