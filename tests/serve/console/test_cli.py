"""`apsam-console` as a process, and as the child of `apsam-serve`."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apsam_serve.client import Client
from apsam_serve.console.cli import main
from apsam_serve.service.background import BackgroundServer

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(module: str, *options: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            **{"stdin": pipe, "stdout": pipe, "stderr": pipe},  # type: ignore[call-overload]
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def console(start: Start, running: BackgroundServer) -> Start:
    def run(*options: str) -> subprocess.Popen[str]:
        return start(
            "apsam_serve.console.cli", "--server", running.address, "--port", "0", *options
        )

    return run


@pytest.fixture
def service(start: Start, tiny_bundle: Path) -> Start:
    def run(*options: str) -> subprocess.Popen[str]:
        bundle = ["--bundle", str(tiny_bundle), "--backend", "fake"]
        return start("apsam_serve.cli", *bundle, "--listen", "127.0.0.1:0", *options)

    return run


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line on standard error that fits."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        found = re.search(pattern, line)
        if found is not None:
            return found
    raise AssertionError("".join(lines))


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=5) as response:
        data: bytes = response.read()
        return data


def is_gone(address: str) -> bool:
    """Whether nobody answers there, soon."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            fetch(address)
        except (urllib.error.URLError, ConnectionError):
            return True
        time.sleep(0.02)
    return False


def test_it_prints_where_it_is_and_ends_at_a_signal(
    console: Start, running: BackgroundServer, tmp_path: Path
) -> None:
    process = console("--json", "--reviewer", "ada", "--round", "3")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told["project"] == "apsam-project"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", told["address"])
    assert b"<canvas" in fetch(told["address"])
    info = json.loads(fetch(f"{told['address']}api/info"))
    assert (info["reviewer"], info["round"]) == ("ada", 3)
    assert info["server"]["address"] == running.address
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert (tmp_path / "apsam-project" / "project.sqlite").is_file()


def test_it_warns_beyond_this_machine_and_ends_with_its_input_where_asked_to(
    console: Start,
) -> None:
    process = console("--listen", "0.0.0.0", "--until-input-ends")
    read_until(process, r"WARNING: --listen 0\.0\.0\.0: .* asks for no password")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("console on http://127.0.0.1:")
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None  # or communicate would flush it
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "give a free --port"),
        (["--images", "nowhere"], "--images nowhere is no folder"),
        (["--project", "/dev/null/x"], "cannot hold a project"),
        (["--timeout-s", "0"], "timeout_s is 0.0"),
        (["--round", "-1"], "round -1 must be"),
        (["--tls-ca", "nowhere.pem"], "nowhere.pem cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--server", "127.0.0.1:1", *options]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("apsam-console: error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_the_service_starts_a_console_and_takes_it_along(service: Start, tmp_path: Path) -> None:
    process = service("--console", "0", "--console-project", str(tmp_path / "work"))
    server = read_until(process, r"serving [0-9a-f]{12} on ([\d.:]+)")[1]
    with Client(server) as client:
        assert client.server_info().masks_per_image == 32
    address = read_until(process, r"console on (\S+), work saved in .*work")[1]
    info = json.loads(fetch(f"{address}api/info"))
    assert info["server"]["serving"] is True
    assert info["server"]["address"] == server
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert is_gone(address)


@pytest.mark.parametrize(
    ("options", "kept"), [(["--console", "0", "--masks-per-image", "7"], 7), ([], 4)]
)
def test_more_masks_are_kept_beside_a_console_alone_and_never_against_the_command_line(
    service: Start, options: list[str], kept: int
) -> None:
    server = read_until(service(*options), r"serving [0-9a-f]{12} on ([\d.:]+)")[1]
    with Client(server) as client:
        assert client.server_info().masks_per_image == kept


def test_a_service_that_is_killed_takes_its_console_along(service: Start) -> None:
    process = service("--console", "0")
    address = read_until(process, r"console on (\S+),")[1]
    process.kill()
    process.wait()
    assert is_gone(address)


def test_a_console_that_cannot_start_is_logged_and_the_service_goes_on(service: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = service("--console", str(port))
        read_until(process, rf"cannot listen on 127\.0\.0\.1:{port} .*give a free --port")
        read_until(process, "the console ended with exit code 2; the service goes on")
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
