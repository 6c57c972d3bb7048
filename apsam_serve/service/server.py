"""Builds the server from its parts, and runs it until a signal says to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import grpc
from grpc_reflection.v1alpha import reflection

from apsam_serve import signing
from apsam_serve.config import ServeConfig, check, resolve
from apsam_serve.contract.manifest import Bundle, open_bundle
from apsam_serve.engine.compute import encoded_bytes
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.store import Store
from apsam_serve.errors import InvalidInputError, NotServingError
from apsam_serve.runtime.base import RunnerOptions, load
from apsam_serve.service.health import Health
from apsam_serve.service.interceptors import ErrorInterceptor
from apsam_serve.service.metrics import Metrics
from apsam_serve.service.servicer import SegmentationServicer
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["SegmentationService"].full_name
_LAST_REPLIES_S = 0.25
_log = logging.getLogger("apsam_serve.service")


class Server:
    """One engine behind one port. `open` returns when calls are welcome; `port`, `metrics_port`
    and `digest` are known then."""

    def __init__(self, config: ServeConfig) -> None:
        check(config)
        self.config = resolve(config)
        self.metrics = Metrics()
        self.port = 0
        self.metrics_port = 0
        self.digest = ""
        self._health = Health(SERVICE)
        self._server: grpc.aio.Server | None = None
        self._engine: Engine | None = None

    async def open(self) -> None:
        """Verify and load the bundle, warm up, then welcome calls; health tells when.

        Raises BundleError, BackendUnavailableError, InvalidInputError for settings that do not fit
        the model, or NotServingError when a port is taken.
        """
        bundle = await asyncio.to_thread(self._verified_bundle)
        self.digest = bundle.digest
        self._engine = self._build_engine(bundle)
        self._server = await self._build_server(self._engine)
        await self._server.start()
        self._listen_for_metrics()
        await self._engine.open()
        await self._health.serving(verified=self._engine.build.gate.passed)

    async def drain(self) -> None:
        """Tell balancers, refuse new calls by name, let the others finish, then close.

        The port stays open meanwhile, so that health checks and new callers get an answer.
        """
        await self._health.not_serving()
        if self._engine is not None:
            await self._engine.drain(grace_s=self.config.grace_s)
        await self.close()

    async def close(self) -> None:
        """Stop now. Harmless when closed already."""
        if self._server is not None:
            # Not 0: finished replies are still on their way. Not the grace: health watchers never
            # finish, and would hold the process for all of it.
            await self._server.stop(_LAST_REPLIES_S)
            self._server = None
        if self._engine is not None:
            await self._engine.close()
            self._engine = None
        self.metrics.close()

    def _listen_for_metrics(self) -> None:
        host, port = self.config.listen.rpartition(":")[0].strip("[]"), self.config.metrics_port
        if port is None:
            return
        try:
            self.metrics_port = self.metrics.listen(host, port)
        except OSError as error:
            raise NotServingError(
                f"cannot serve metrics on {host}:{port} ({error}); give a free --metrics-port"
            ) from error

    def _verified_bundle(self) -> Bundle:
        path = self.config.bundle.resolve()  # once: a link that is moved must not lead elsewhere
        if self.config.require_signature is not None:
            signing.verify(path, self.config.require_signature)
        return open_bundle(path)

    def _build_engine(self, bundle: Bundle) -> Engine:
        config = self.config
        options = RunnerOptions(
            threads=config.threads,
            device=config.device,
            build=config.build,
            allow_unverified=config.allow_unverified,
        )
        runner = load(config.backend)(bundle, options)
        if not runner.build.gate.passed:
            _log.warning("serving an unverified build: %s", runner.build.gate.detail)
        needed = encoded_bytes(bundle.manifest.model, runner.build.precision)
        if config.budget_bytes < needed:
            raise InvalidInputError(
                f"--budget-bytes {config.budget_bytes} holds no image; each takes {needed} bytes"
            )
        engine = Engine(
            runner,
            store=Store(budget_bytes=config.budget_bytes, ttl_s=config.ttl_s),
            limits=config.limits,
            host_threads=config.host_threads,
            max_pixels=config.max_pixels,
        )
        self.metrics.watch(engine)
        return engine

    async def _build_server(self, engine: Engine) -> grpc.aio.Server:
        server = grpc.aio.server(
            interceptors=[ErrorInterceptor(self.metrics)],
            options=[
                ("grpc.so_reuseport", 0),  # or a second server would silently share the port
                ("grpc.max_receive_message_length", self.config.max_message_bytes),
                ("grpc.max_send_message_length", self.config.max_message_bytes),
                # Stations behind NAT ping to keep their connection.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        servicer = SegmentationServicer(engine, model_digest=self.digest, metrics=self.metrics)
        pb_grpc.add_SegmentationServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        await self._health.add_to(server)
        names = (SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            self.port = server.add_insecure_port(self.config.listen)
        except RuntimeError as error:
            raise NotServingError(
                f"cannot listen on {self.config.listen!r} ({error}); give a free HOST:PORT"
            ) from error
        return server


async def run(config: ServeConfig) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once."""
    server = Server(config)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    opening = asyncio.create_task(server.open())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            host = server.config.listen.rpartition(":")[0]
            print(
                f"apsam-serve: serving {server.digest[:12]} on {host}:{server.port}",
                file=sys.stderr,
                flush=True,
            )
            await stopping
            _log.info("draining, at most %.0f s", server.config.grace_s)
        opening.cancel()
        await server.drain()
    finally:
        stopping.cancel()
        await server.close()
