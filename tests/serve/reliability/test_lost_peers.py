"""Stations that vanish: killed in the middle of an upload, or gone without hanging up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import ask, click, connect, hold
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, report, scaled
from tests.serve.reliability.proxy import Proxy
from tests.serve.reliability.rest import Rest
from tests.serve.reliability.server_process import ROOT, ServerProcess, until

UPLOAD_BYTES = 12 * 2**20
BYTES_PER_S = 4 * 2**20
KEEPALIVE_S = 80.0
"""Until the server gives a silent connection up: it asks after 60 s and waits 20 s."""


@pytest.fixture
def image(tmp_path: Path, bag_png: bytes) -> Path:
    (tmp_path / "bag.png").write_bytes(bag_png)
    return tmp_path / "bag.png"


def test_a_client_that_is_killed_in_the_middle_of_an_upload_leaves_nothing(
    launch: Launch, image: Path
) -> None:
    server = launch()
    before, num_clients = _worked(server, image), scaled(short=1, full=10)
    forgotten_s = []
    with Proxy(server.address, bytes_per_s=BYTES_PER_S) as wire:
        for client in _clients(wire, image, num=num_clients):
            _require_holding(server, before)
            client.kill()
            client.wait(10)
            forgotten_s.append(before.require_again(server))
    report("killed_client", num_clients=num_clients, forgotten_max_s=max(forgotten_s))
    assert len(forgotten_s) == num_clients


def test_a_connection_that_goes_dead_is_given_up_within_the_keepalive_time(
    launch: Launch, image: Path
) -> None:
    # The short form makes the server ask, and wait for an answer, after one second each.
    server = launch(behaviour=Behaviour(keepalive_ms=scaled(short=1000, full=0)))
    limit_s = scaled(short=2.0 * BUSY, full=KEEPALIVE_S + 5)
    before = _worked(server, image)
    with Proxy(server.address, dead_after=UPLOAD_BYTES // 2) as wire:
        for client in _clients(wire, image, num=1):
            until(lambda: wire.dead, "a dead wire")
            _require_holding(server, before)
            forgotten_s = before.require_again(server, timeout_s=limit_s)
            assert client.poll() is None  # it still waits for an answer
    report("half_open", forgotten_s=forgotten_s, limit_s=limit_s)
    assert forgotten_s > 0.5


def _clients(wire: Proxy, image: Path, *, num: int) -> Iterator[subprocess.Popen[str]]:
    """One after the other, each while it sends a large image and holds one in a session."""
    for _ in range(num):
        begun = wire.num_up
        command = [sys.executable, "-m", "tests.serve.reliability.lost_client"]
        with subprocess.Popen(
            [*command, wire.address, str(image), str(UPLOAD_BYTES)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            try:
                assert client.stdout is not None
                assert client.stdout.readline() == "holding\n"
                until(lambda n=begun: wire.num_up > n + UPLOAD_BYTES // 4, "a quarter sent")
                assert wire.num_up < begun + UPLOAD_BYTES
                yield client
            finally:
                client.kill()


def _worked(server: ServerProcess, image: Path) -> Rest:
    """The server at rest, after a first client of the same kind that had no accident."""
    channel, stub = connect(server.address)
    with channel:
        for _ in range(20):
            handle = hold(stub, image.read_bytes())
            assert ask(stub.Segment, click(handle)).code == "OK"
            assert stub.DeleteEmbedding(pb.DeleteEmbeddingRequest(handle=handle)).deleted
    time.sleep(0.2)
    return Rest.of(server)


def _require_holding(server: ServerProcess, before: Rest) -> None:
    """The server has something to forget: a session's image, and a connection."""
    now = Rest.of(server)
    assert now.num_fds > before.num_fds
    assert server.metric("apsam_store_entries") == 1
