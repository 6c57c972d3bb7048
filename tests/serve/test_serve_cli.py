"""`apsam-serve` as a process: start, drain, refusals."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from apsam_serve.client import Client, Retries
from apsam_serve.contract.prompts import Prompt
from apsam_serve.errors import ApsamError, NotServingError

SLOW = """
import itertools, sys, time
from apsam_serve.runtime.fake import FakeRunner
fast, calls = FakeRunner.decode, itertools.count()
def slow(self, **inputs):
    time.sleep(0.3 if next(calls) >= 3 else 0)  # the warm-up decodes three times
    return fast(self, **inputs)
FakeRunner.decode = slow
from apsam_serve.cli import main
sys.exit(main(sys.argv[1:]))
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tiny_bundle: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, script: str = SLOW) -> subprocess.Popen[str]:
        listen = ["--bundle", str(tiny_bundle), "--listen", "127.0.0.1:0", "--backend", "fake"]
        command = [sys.executable, "-c", script, *listen, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def address(process: subprocess.Popen[str]) -> str:
    """Waits for the line that says where it serves."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"serving [0-9a-f]{12} on (127\.0\.0\.1:\d+)", line)
    assert found is not None, line + process.stderr.read()
    return found[1]


def test_a_first_signal_drains_and_no_call_in_flight_is_lost(start: Start, bag_png: bytes) -> None:
    process = start()
    server = address(process)
    outcomes: list[object] = []
    with Client(server, timeout_s=20) as client:
        image = client.encode(bag_png)

        def click() -> None:
            try:
                outcomes.append(image.segment([Prompt.click(20, 20)])[0].mask.any())
            except ApsamError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=click) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        with Client(server, timeout_s=5) as late, pytest.raises(NotServingError, match="draining"):
            late.encode(bag_png)
        for thread in threads:
            thread.join()
        assert process.wait(10) == 0
    assert outcomes == [True] * 8
    assert time.monotonic() - began < 5


def test_health_says_not_serving_while_calls_in_flight_finish(start: Start, bag_png: bytes) -> None:
    process = start()
    server = address(process)
    with Client(server, timeout_s=20) as client, grpc.insecure_channel(server) as channel:
        image = client.encode(bag_png)
        click = threading.Thread(target=image.segment, args=([Prompt.click(20, 20)],))
        click.start()
        time.sleep(0.1)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(watch) == b"\x08\x01"
        process.send_signal(signal.SIGINT)
        assert next(watch) == b"\x08\x02"
        assert not client.is_serving()
        click.join()
        # The watcher is still there, and does not keep the process for its grace of 10 s.
        assert process.wait(3) == 0


def test_a_second_signal_ends_the_process_at_once(start: Start, bag_png: bytes) -> None:
    process = start("--grace-s", "60", script=SLOW.replace("0.3", "3"))
    server = address(process)
    with Client(server, timeout_s=20, retries=Retries(max_attempts=1)) as client:
        image = client.encode(bag_png)
        broken: list[str] = []

        def click() -> None:
            try:
                image.segment([Prompt.click(20, 20)])
            except ApsamError as error:
                broken.append(error.reason)

        thread = threading.Thread(target=click)
        thread.start()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(2) == 1
        assert time.monotonic() - began < 1
        thread.join()
    assert broken == ["NOT_SERVING"]


def test_a_bundle_that_changed_is_refused_in_one_line(start: Start, fresh_bundle: Path) -> None:
    file = fresh_bundle / "energy_encoder.onnx"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    process = start("--bundle", str(fresh_bundle))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("apsam-serve: error: ")
    assert "energy_encoder.onnx is not the file that was exported" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bundle", "/nowhere"], "manifest.json cannot be read"),
        (["--backend", "tpu"], "back end 'tpu' is unknown; choose one of fake, onnxruntime"),
        (["--backend", "onnxruntime", "--device", "cuda"], "cannot run on device 'cuda'"),
        (["--listen", "nonsense"], "--listen 'nonsense' is not HOST:PORT"),
        (["--budget-bytes", "10"], "a budget of 10 bytes holds no image"),
        (["--ttl-s", "0"], "--ttl-s 0.0"),
        (["--backend", "onnxruntime", "--build", "trt"], "has no build 'trt'; it has fp32"),
        (["--require-signature", "/nowhere.pub"], "has no signature"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    start: Start, options: list[str], message: str
) -> None:
    process = start(*options)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("apsam-serve: error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1
