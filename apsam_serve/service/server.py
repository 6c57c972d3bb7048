"""Builds the server from its parts, and runs it until a signal says to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib.metadata import version

import grpc
from grpc_reflection.v1alpha import reflection

from apsam_serve.config import ServeConfig, check, resolve
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.store import Store
from apsam_serve.errors import NotServingError
from apsam_serve.progress import Progress
from apsam_serve.service import access, transport
from apsam_serve.service.audit import AuditLog
from apsam_serve.service.bundles import Bundles
from apsam_serve.service.calls import Calls, Observer
from apsam_serve.service.health import Health
from apsam_serve.service.identity import owner_of
from apsam_serve.service.interceptors import CallInterceptor
from apsam_serve.service.logs import Log, RequestLog
from apsam_serve.service.metrics import Metrics
from apsam_serve.service.servicer import SegmentationServicer
from apsam_serve.service.tracing import Tracing, trace_id
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["SegmentationService"].full_name
_LAST_REPLIES_S = 0.25
_STUCK_S = 5.0
"""How long the batch that runs at the end is waited for."""
_MAX_CALLS = 1024
"""Calls and streams of all connections together: the outer fuse, above what is admitted."""
Beside = Callable[[str], AbstractAsyncContextManager[None]]
_log = logging.getLogger("apsam_serve.service")


class Server:
    """One engine behind one port. `open` returns when calls are welcome; `port`, `metrics_port`
    and `digest`, of the bundle that new images go to, are known then. loaded: called once, before
    health says so."""

    def __init__(self, config: ServeConfig, *, loaded: Callable[[], None] = lambda: None) -> None:
        check(config)
        self.config = config = resolve(config)
        self.metrics = Metrics()
        self.port = 0
        self.metrics_port = 0
        self.digest = ""
        self.engine = Engine(
            store=Store(budget_bytes=config.budget_bytes, ttl_s=config.ttl_s),
            limits=config.limits,
            host_threads=config.host_threads,
            max_pixels=config.max_pixels,
            masks_per_image=config.masks_per_image,
            max_ttl_s=config.max_ttl_s,
        )
        self.audit = AuditLog(config.audit_log) if config.audit_log is not None else None
        self._tracing = Tracing() if config.traces else None
        self.calls = Calls(
            owner_of=owner_of,
            auditor=self.audit,
            observers=self._observers(),
            max_reply_bytes=config.max_message_bytes,
        )
        self._loaded = loaded
        self._bundles = Bundles(config)
        self._refused = ""
        self._reloading = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None
        self._health = Health(SERVICE)
        self._server: grpc.aio.Server | None = None
        self._closed = False

    async def open(self) -> None:
        """Verify and load the bundle, warm up, then welcome calls; health tells when.

        Raises BundleError, BackendUnavailableError, InvalidInputError for settings that do not fit
        together, AuditBrokenError, or NotServingError when a port is taken.
        """
        bundle = await asyncio.to_thread(self._bundles.open)
        runner = self._bundles.runner(bundle)
        self._open_audit()
        self._server = await self._build_server()
        await self._server.start()
        self.metrics.watch(self.engine)
        self._listen_for_metrics()
        self.engine.on_health(lambda healthy: self._health.works("device", healthy))
        await self.engine.open(runner, bundle.digest)
        if runner.device is not None:
            self.metrics.watch_device(runner.device.memory_bytes)
        self.digest = bundle.digest
        self._loaded()
        await self._health.serving(verified=runner.build.gate.passed)
        if self.config.reload_s:
            self._polling = asyncio.create_task(self._poll())

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was found when the configuration said 0."""
        return f"{self.config.listen.rpartition(':')[0]}:{self.port}"

    @property
    def announcement(self) -> str:
        """What runs where, once it does."""
        host = self.config.listen.rpartition(":")[0]
        text = f"serving {self.digest[:12]} on {self.address}"
        return f"{text}, metrics on {host}:{self.metrics_port}" if self.metrics_port else text

    async def reload(self, *, insist: bool = True) -> bool:
        """Look where the bundle's path leads, and send new images to that model if it is another.

        One that cannot be served is logged and counted, and changes nothing; without `insist` it is
        not tried a second time. Returns whether the model has changed.
        """
        async with self._reloading:
            found = ""
            try:
                found = await asyncio.to_thread(self._bundles.digest)
                if found == self.digest or (found == self._refused and not insist):
                    return False
                bundle = await asyncio.to_thread(self._bundles.open)
                runner = await asyncio.to_thread(self._bundles.runner, bundle)
                await self.engine.switch(runner, bundle.digest)
            except Exception as error:  # whatever it is, the old model serves on
                self._refused = found
                self.metrics.reloaded(switched=False)
                _log.error("the model stays %s: %s", self.digest[:12], error)
                return False
            self.digest = bundle.digest
            self.metrics.reloaded(switched=True)
            _log.info("new images go to model %s", self.digest[:12])
            await self._health.switched(verified=runner.build.gate.passed)
            return True

    async def drain(self) -> None:
        """Tell balancers, refuse new calls by name, let the others finish, then close.

        The port stays open meanwhile, so that health checks and new callers get an answer.
        """
        await self._health.not_serving()
        await self.engine.drain(grace_s=self.config.grace_s)
        await self.close()

    async def close(self) -> None:
        """Stop now. Harmless when closed already."""
        if self._closed:
            return
        self._closed = True
        if self._polling is not None:
            self._polling.cancel()
        if self._server is not None:
            # Not 0: finished replies are still on their way. Not the grace: health watchers never
            # finish, and would hold the process for all of it.
            await self._server.stop(_LAST_REPLIES_S)
            self._server = None
        await self.engine.close(patience_s=_STUCK_S)
        await self.calls.close()
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        self.metrics.close()

    def _observers(self) -> list[Observer]:
        observers: list[Observer] = [self.metrics, RequestLog(trace_id=trace_id)]
        return observers if self._tracing is None else [self._tracing, *observers]

    def _open_audit(self) -> None:
        if self.audit is None:
            return
        loop = asyncio.get_running_loop()

        def on_health(healthy: bool) -> None:
            loop.call_soon_threadsafe(self._health.works, "audit log", healthy)

        self.audit.open()
        self.audit.on_health(on_health)
        self.metrics.watch_audit(self.audit)

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

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.config.reload_s)
            await self.reload(insist=False)

    async def _build_server(self) -> grpc.aio.Server:
        credentials = transport.credentials(self.config)
        server = grpc.aio.server(
            interceptors=self._interceptors(),
            options=self._options(),
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        servicer = SegmentationServicer(self.engine, calls=self.calls, config=self.config)
        pb_grpc.add_SegmentationServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        services = self._add_kserve(server) if self.config.kserve else []
        await self._health.add_to(server, *services)
        names = (SERVICE, *services, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        listen = self.config.listen
        try:
            self.port = (
                server.add_insecure_port(listen)
                if credentials is None
                else server.add_secure_port(listen, credentials)
            )
        except RuntimeError as error:
            raise NotServingError(
                f"cannot listen on {listen!r} ({error}); give a free HOST:PORT"
            ) from error
        return server

    def _interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """The outermost first."""
        require = None
        if self.config.access is not None:
            require = access.Access(rules=access.read(self.config.access)).require
        calls = CallInterceptor(self.calls, require=require)
        return [calls] if self._tracing is None else [self._tracing, calls]

    def _options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.so_reuseport", 0),  # or a second server would silently share the port
            ("grpc.max_receive_message_length", self.config.max_message_bytes),
            ("grpc.max_send_message_length", self.config.max_message_bytes),
            ("grpc.max_metadata_size", 16 * 2**10),
            ("grpc.max_concurrent_streams", 256),  # per connection
            # Stations behind NAT ping to keep their connection.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # A station that lost its power never closes its session; its image would stay.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.ping_timeout_ms", 20_000),
        ]

    def _add_kserve(self, server: grpc.aio.Server) -> list[str]:
        from apsam_serve.kserve import servicer  # its proto may not meet another `inference.*`

        info = servicer.Info(
            version=version("apsam"),
            max_message_bytes=self.config.max_message_bytes,
            serving=lambda: self._health.is_serving,
        )
        return [servicer.add_to(server, self.engine, calls=self.calls, info=info)]


def spare_what_is_there() -> None:
    """Let the garbage collector pass by all that exists now: one look through it stops the process
    for 20 to 50 ms. A model that a reload brings adds a few hundred objects, so it is not done
    again; one that goes is freed by its reference counts."""
    gc.collect()
    gc.freeze()


async def run(config: ServeConfig, *, beside: Beside | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once. SIGHUP
    looks for another bundle. beside: what to run from the announcement to the end of the drain,
    given the address that is served."""
    log = Log(config.log_format)
    log.open()
    try:
        server = Server(config, loaded=spare_what_is_there)
        server.metrics.watch_log(lambda: log.num_dropped)
        await _serve(server, beside)
    finally:
        log.close()


async def _serve(server: Server, beside: Beside | None) -> None:
    stop = asyncio.Event()
    reloads: set[asyncio.Task[bool]] = set()

    def on_stop() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    def on_hangup() -> None:
        if not opening.done():
            return
        task = asyncio.create_task(server.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop = asyncio.get_running_loop()
    opening = asyncio.create_task(server.open())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    stopping = asyncio.create_task(stop.wait())
    stack = AsyncExitStack()
    try:
        with Progress("load the bundle"):
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            _log.info("%s", server.announcement)
            if beside is not None:
                await stack.enter_async_context(beside(server.address))
            await stopping
            _log.info("draining, at most %.0f s", server.config.grace_s)
        opening.cancel()
        await server.drain()
    finally:
        stopping.cancel()
        await server.close()
        await stack.aclose()
