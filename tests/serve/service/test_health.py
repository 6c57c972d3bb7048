"""Health is a fact: of the device, of the audit log, of the life of the server."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apsam_serve.config import ServeConfig
from apsam_serve.errors import DeviceFaultError
from apsam_serve.runtime.fake import FakeRunner
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.health import VERIFIED, Health
from apsam_serve.service.server import SERVICE, Server, spare_what_is_there
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import create, metrics, refused

KSERVE = "inference.GRPCInferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Serve = Callable[..., BackgroundServer]


def health(server: BackgroundServer, *services: str) -> list[int]:
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return [check(health_pb2.HealthCheckRequest(service=name)).status for name in services]


def becomes(server: BackgroundServer, status: int, *services: str) -> bool:
    deadline_s = time.monotonic() + 5
    while (found := health(server, *services)) != [status] * len(services):
        if time.monotonic() > deadline_s:
            raise AssertionError(found)
        time.sleep(0.02)
    return True


def test_a_build_that_came_while_the_device_was_broken_is_told_of_when_it_works() -> None:
    async def told() -> list[bool]:
        found = Health()
        await found.serving(verified=True)
        found.works("device", False)
        await found.switched(verified=False)
        found.works("device", True)
        await asyncio.sleep(0.01)
        asked = health_pb2.HealthCheckRequest(service=VERIFIED)
        answer = await found._servicer.Check(asked, None)
        return [found.is_serving, answer.status == SERVING]

    assert asyncio.run(told()) == [True, False]


def test_what_is_done_once_all_is_loaded_is_done_before_calls_are_welcome(
    config: ServeConfig,
) -> None:
    async def scenario() -> list[bool]:
        found: list[bool] = []
        server = Server(config, loaded=lambda: found.append(server._health.is_serving))
        await server.open()
        found.append(server._health.is_serving)
        await server.close()
        return found

    assert asyncio.run(scenario()) == [False, True]


def test_what_is_there_is_spared_by_the_garbage_collector() -> None:
    spare_what_is_there()
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_a_device_that_fails_is_told_until_it_works_again(
    serve: Serve,
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(kserve=True)
    names = ("", SERVICE, KSERVE)
    assert health(server, *names) == [SERVING] * 3

    def broken(self: FakeRunner, images: object, energy: object = None) -> None:
        raise DeviceFaultError("/secret/device fell off the bus")

    monkeypatch.setattr(FakeRunner, "encode", broken)
    stub = connect(server)
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    error = refused(stub.CreateEmbedding, request)
    assert isinstance(error, DeviceFaultError)
    assert "secret" not in str(error)
    assert becomes(server, NOT_SERVING, *names)
    assert 'apsam_faults_total{reason="DEVICE_FAULT"}' in metrics(server)
    monkeypatch.undo()
    assert becomes(server, SERVING, *names)
    assert create(stub, bag_png).embedding.handle


def test_a_service_that_is_not_offered_is_unknown(running: BackgroundServer) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health(running, KSERVE)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_audit_log_that_cannot_be_written_is_told_until_it_works_again(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(audit_log=tmp_path / "audit.jsonl")
    audit = server.server.audit
    assert audit is not None
    audit._listener(False)
    assert becomes(server, NOT_SERVING, "", SERVICE)
    audit._listener(True)
    assert becomes(server, SERVING, "", SERVICE)


def test_a_draining_server_stays_not_serving_whatever_its_device_does(serve: Serve) -> None:
    server = serve()
    loop, told = server._loop, server.server._health

    async def drain() -> None:
        await told.not_serving()
        told.works("device", False)
        told.works("device", True)
        await asyncio.sleep(0.05)

    asyncio.run_coroutine_threadsafe(drain(), loop).result(5)
    assert health(server, "", SERVICE) == [NOT_SERVING] * 2
