"""Stubs, which show what a client of ours would hide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc


@pytest.fixture
def connect() -> Iterator[Callable[[BackgroundServer], Any]]:
    """Stubs of servers; their channels close with the test."""
    channels: list[grpc.Channel] = []

    def stub_of(server: BackgroundServer) -> Any:
        channels.append(grpc.insecure_channel(server.address))
        return pb_grpc.SegmentationServiceStub(channels[-1])  # type: ignore[no-untyped-call]

    yield stub_of
    for channel in channels:
        channel.close()


@pytest.fixture
def stub(running: BackgroundServer, connect: Callable[[BackgroundServer], Any]) -> Any:
    return connect(running)
