"""A server as a process of its own, seen from outside: its port, its memory, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.reliability.behaviour import ENVIRONMENT, Behaviour, write

ROOT = Path(__file__).resolve().parents[3]
_SERVING = re.compile(r"serving (\w+) on ([\d.]+):(\d+), metrics on \S+:(\d+)")
_START_S = 60.0
_GRPC_POOL = "event_engine"


class ServerProcess:
    """`with ServerProcess(bundle, "--kserve", folder=tmp_path) as server:` is ready for calls.

    behaviour: of the faulty double, None for the product as it is. Raises RuntimeError with what
    the server said where it does not start.
    """

    def __init__(
        self,
        bundle: Path,
        *options: str,
        folder: Path,
        behaviour: Behaviour | None = None,
        listen: str = "127.0.0.1:0",
    ) -> None:
        module = "apsam_serve.cli"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if behaviour is not None:
            module = "tests.serve.reliability.faulty_server"
            options = ("--backend", "fake", *options)
            self._behaviour = folder / "behaviour.json"
            write(self._behaviour, behaviour)
            environment[ENVIRONMENT] = str(self._behaviour)
        self.lines: list[str] = []
        self._ready = threading.Event()
        command = [sys.executable, "-m", module, "--bundle", str(bundle), "--listen", listen]
        self.process = subprocess.Popen(
            [*command, "--metrics-port", "0", *options],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",  # gRPC's own log shows what came
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.digest, host, port, self._metrics_port = self._await_start()
        self.address = f"{host}:{port}"

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def num_fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def num_threads(self) -> int:
        """Without those of gRPC's event engine, whose number breathes."""
        found = Path(f"/proc/{self.pid}/task").glob("*/comm")
        return sum(_GRPC_POOL not in comm.read_text("utf-8") for comm in found)

    @property
    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._status_bytes("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """Most resident memory since `reset_peak`."""
        return self._status_bytes("VmHWM")

    def reset_peak(self) -> int:
        """Begin to watch for the peak. Returns resident memory now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "ascii")
        return self.rss_bytes

    def behave(self, behaviour: Behaviour) -> None:
        """From the device's next work on."""
        write(self._behaviour, behaviour)

    def metrics(self) -> dict[str, float]:
        """Samples by name and sorted labels: `apsam_store_bytes{state="used"}`."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            _key(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, key: str) -> float:
        """One sample; 0 while it has never been counted."""
        return self.metrics().get(key, 0.0)

    def health(self, service: str = "") -> str:
        """SERVING or NOT_SERVING, over a connection of its own."""
        with grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL; harmless when it has ended."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def said(self) -> str:
        """Its standard error so far."""
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if _SERVING.search(line):
                self._ready.set()
        self._ready.set()

    def _await_start(self) -> tuple[str, ...]:
        self._ready.wait(_START_S)
        found = _SERVING.search(self.said())
        if found is None:
            self.kill()
            raise RuntimeError(f"the server did not start:\n{self.said()[-3000:]}")
        return found.groups()

    def _status_bytes(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text("ascii")
        found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None, field
        return int(found[1]) * 1024


def until(met: Callable[[], bool], what: str, *, timeout_s: float = 10.0) -> float:
    """Wait for a condition. Returns the seconds it took. Raises AssertionError naming it."""
    started = time.monotonic()
    while not met():
        assert time.monotonic() < started + timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def _key(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name
