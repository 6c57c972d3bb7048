"""`apsam-client watch`: every picture is screened once, and none is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apsam_serve.client import Client, ProposeOptions, Retries
from apsam_serve.client_cli import main
from apsam_serve.client_cli.folder import Folder
from apsam_serve.client_cli.watch import Watcher
from apsam_serve.config import ServeConfig
from apsam_serve.contract.masks import Rle, decode_rle
from apsam_serve.errors import DeviceFaultError, NotServingError, PermissionDeniedError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.client.scripted import ScriptedServicer, scripted_server
from tests.serve.client.virtual import created

ONCE = ["--once", "--poll-s", "0.01", "--json"]


@pytest.fixture
def folder(tmp_path: Path, bag_png: bytes) -> Path:
    """Two pictures, one broken, and what is none."""
    path = tmp_path / "belt"
    path.mkdir()
    for name, data in {
        "bag.png": bag_png,
        "BAG2.PNG": bag_png,
        "broken.jpg": b"\xff\xd8 cut off",
        ".hidden.png": bag_png,
        "notes.txt": b"no picture",
    }.items():
        (path / name).write_bytes(data)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_once_leaves_label_maps_coco_documents_and_errors(
    serve: Callable[..., BackgroundServer],
    named_bundle: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ["--server", serve(bundle=named_bundle).address]
    before = names(folder)
    assert main(["watch", str(folder), *server, *ONCE]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"screened": 2, "failed": 1}
    assert "broken.jpg: INVALID_IMAGE: " in printed.err
    results = {"bag.png.mask.png", "bag.png.json", "BAG2.PNG.mask.png", "BAG2.PNG.json"}
    assert names(folder) - before == {*results, "broken.jpg.error.json"}
    assert read(folder / "broken.jpg.error.json")["error"]["reason"] == "INVALID_IMAGE"
    document = read(folder / "bag.png.json")
    (image,) = document["images"]
    assert (image["file_name"], image["width"], image["height"]) == ("bag.png", 80, 60)
    categories = [one["name"] for one in document["categories"]]
    assert categories == ["Gun", "Bullet", "Laptop", "object"]
    labels = cv2.imread(str(folder / "bag.png.mask.png"), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint8
    covered = np.zeros((60, 80), bool)
    assert len(document["annotations"]) > 1
    for one in document["annotations"]:
        height, width = one["segmentation"]["size"]
        rle = Rle(height=height, width=width, counts=one["segmentation"]["counts"])
        mask = decode_rle(rle)
        assert one["area"] == mask.sum() > 0
        assert np.array_equal(labels == one["id"], mask & ~covered)
        assert 1 <= one["category_id"] <= 4
        covered |= mask
    assert np.array_equal(labels > 0, covered)


def test_what_has_a_newer_result_is_left_alone_until_it_changes(
    running: BackgroundServer, folder: Path, bag_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["watch", str(folder), "--server", running.address, *ONCE]
    counts = []

    def screen() -> None:
        main(command)
        counts.append(tuple(json.loads(capsys.readouterr().out).values()))

    screen()
    screen()
    (folder / "broken.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1])
    (folder / "bag.png").write_bytes(bag_png[:-20])
    later = time.time() + 5
    for name in ("broken.jpg", "bag.png"):
        os.utime(folder / name, (later, later))
    screen()
    assert counts == [(2, 1), (0, 0), (1, 1)]
    assert "broken.jpg.error.json" not in names(folder)
    assert {"bag.png.json", "bag.png.mask.png"} & names(folder) == set()
    assert "bag.png.error.json" in names(folder)


def test_results_go_to_another_folder_and_patterns_choose(
    running: BackgroundServer, folder: Path, tmp_path: Path
) -> None:
    out, before = tmp_path / "deep" / "results", names(folder)
    command = ["watch", str(folder), "--out", str(out), "--pattern", "bag.*", *ONCE]
    assert main([*command, "--server", running.address]) == 0
    assert names(out) == {"bag.png.mask.png", "bag.png.json"}
    assert names(folder) == before


def test_a_picture_is_complete_when_two_polls_see_the_same_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path, out=tmp_path)

    def poll() -> list[str]:
        return [one.path.name for one in folder.poll()]

    def write(name: str, data: bytes, at_s: int) -> None:
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (at_s, at_s))

    write("b.png", b"1", 1)
    assert poll() == []
    write("b.png", b"12", 1)
    assert poll() == []
    write("b.png", b"12", 2)
    write("a.png", b"1", 3)
    assert poll() == []
    assert poll() == ["b.png", "a.png"]
    for one in folder.poll():
        folder.done(one)
    assert (poll(), folder.waiting) == ([], set())
    write("b.png", b"12", 4)
    assert (poll(), poll()) == ([], ["b.png"])
    (tmp_path / "b.png").unlink()
    assert (poll(), folder.waiting) == ([], set())


class Loop:
    """A watcher whose waiting is a list, and ends after the last of `events`, which happen during
    the waits."""

    def __init__(self, client: Client, folder: Path, *events: Callable[[], object]) -> None:
        self.waits: list[float] = []
        self._events = [*events]
        self.watcher = Watcher(
            client,
            Folder(folder, out=folder, patterns=["*.png"]),
            options=ProposeOptions(),
            strategy="apg",
            patient=True,
            wait=self.wait,
        )

    def wait(self, seconds: float) -> bool:
        if seconds == 0:
            return False
        self.waits.append(seconds)
        if self._events:
            self._events.pop(0)()
            return False
        return True


def nothing() -> None:
    """Happens."""


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_server_that_is_away_is_waited_for(
    config: ServeConfig, folder: Path, free_port: int
) -> None:
    address = f"127.0.0.1:{free_port}"
    with ExitStack() as started, Client(address, retries=Retries(max_attempts=1)) as client:

        def start() -> None:
            started.enter_context(BackgroundServer(replace(config, listen=address)))
            time.sleep(0.7)  # more than gRPC waits before it connects again

        loop = Loop(client, folder, nothing, nothing, nothing, start, nothing)
        loop.watcher.watch(poll_s=0.5, once=False)
    assert (loop.watcher.num_screened, loop.watcher.num_failed) == (2, 0)
    assert loop.waits[:5] == [0.5, 1.0, 2.0, 4.0, 0.5]


@pytest.fixture
def server() -> Iterator[tuple[str, ScriptedServicer]]:
    with scripted_server() as running:
        yield running


def test_a_picture_that_breaks_the_server_gets_an_error_after_three_tries(
    server: tuple[str, ScriptedServicer], folder: Path
) -> None:
    address, servicer = server
    empty = pb.ProposeResponse()
    servicer.outcomes = [*[DeviceFaultError("the device failed")] * 3, created("h"), empty]
    with Client(address) as client:
        loop = Loop(client, folder, *[nothing] * 3)
        loop.watcher.watch(poll_s=0.5, once=False)
    assert (loop.watcher.num_screened, loop.watcher.num_failed) == (1, 1)
    assert loop.waits == [0.5, 1.0, 2.0, 0.5]


def test_an_operators_fault_ends_the_loop_and_leaves_no_result(
    server: tuple[str, ScriptedServicer], folder: Path
) -> None:
    address, servicer = server
    servicer.outcomes = [PermissionDeniedError("station-1 may not call CreateEmbedding")]
    before = names(folder)
    with Client(address) as client:
        loop = Loop(client, folder, *[nothing] * 3)
        with pytest.raises(PermissionDeniedError):
            loop.watcher.watch(poll_s=0.5, once=False)
    assert names(folder) == before


def test_once_does_not_wait_for_a_server(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(folder)
    command = ["watch", str(folder), "--pattern", "*.png", "--server", "127.0.0.1:1", *ONCE]
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == NotServingError.reason
    assert names(folder) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_picture_in_hand(
    running: BackgroundServer, folder: Path, number: int
) -> None:
    def interrupt() -> None:
        until = time.monotonic() + 10
        while "bag.png.json" not in names(folder) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    handlers = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    command = ["watch", str(folder), "--pattern", "*.png", "--poll-s", "0.05"]
    assert main([*command, "--server", running.address]) == 0
    thread.join()
    assert signal.getsignal(number) is handlers
    assert not [name for name in names(folder) if name.endswith(".partial")]
    for name in names(folder):
        if name.endswith(".json"):
            assert isinstance(read(folder / name), dict)
