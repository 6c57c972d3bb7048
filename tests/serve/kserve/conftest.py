"""Servers that speak the KServe v2 protocol too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from apsam_serve.config import ServeConfig
from apsam_serve.kserve import open_inference_pb2_grpc as pb_grpc
from apsam_serve.service.background import BackgroundServer

LARGE_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def running(config: ServeConfig) -> Iterator[BackgroundServer]:
    """Over a bundle without categories."""
    with BackgroundServer(replace(config, kserve=True)) as server:
        yield server


@pytest.fixture(scope="module")
def channel(running: BackgroundServer) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", LARGE_BYTES)]
    with grpc.insecure_channel(running.address, options=options) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    """Raw calls: what a client that knows nothing of us sends."""
    return pb_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
def named_stub(config: ServeConfig, named_bundle: Path) -> Iterator[Any]:
    """The same over a bundle with categories."""
    with (
        BackgroundServer(replace(config, kserve=True, bundle=named_bundle)) as server,
        grpc.insecure_channel(server.address) as opened,
    ):
        yield pb_grpc.GRPCInferenceServiceStub(opened)  # type: ignore[no-untyped-call]
