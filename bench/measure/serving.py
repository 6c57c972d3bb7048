"""A real `apsam-serve` as a process of its own, seen from outside."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

_SERVING = re.compile(r"serving (\w+) on (\S+:\d+)")
_ROUTINE = "INFO: request"
"""What a log in text says of every answered call."""
_START_S = 120.0
_STOP_S = 30.0


class ServedBundle:
    """`with ServedBundle(bundle, "--threads", "2", environment={...}) as server:` is SERVING.

    address: HOST:PORT; ready_s: from starting the process until it said that it serves;
    environment: added to this process's own; echo: show the command and what the server says on
    standard error, but for answered calls where its log is text.
    Raises RuntimeError with what the server said where it does not start.
    """

    def __init__(
        self,
        bundle: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        echo: bool = False,
        start_timeout_s: float = _START_S,
    ) -> None:
        listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
        self._words = ["apsam-serve", "--bundle", str(bundle), *listen, *options]
        self._environment = {**os.environ, **(environment or {})}
        self._echo = echo
        self._timeout_s = start_timeout_s
        self._lines: list[str] = []
        self._ready = threading.Event()
        self.address = ""
        self.digest = ""
        self.ready_s = 0.0

    def __enter__(self) -> ServedBundle:
        if self._echo:
            print(f"\n$ {' '.join(self._words)}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name(self._words[0])), *self._words[1:]],
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        in_time = self._ready.wait(self._timeout_s)
        if not self.address:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1 if in_time else 0)  # for its own exit code
            code = self._process.poll()
            self._end()
            ended = f"(exit code {code})"
            raise RuntimeError(
                f"{' '.join(self._words)} did not start "
                f"{ended if in_time else f'within {self._timeout_s} s'}; it said:\n"
                f"{self.said()[-3000:]}"
            )
        self.ready_s = self._ready_at - started
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def wait(self) -> int:
        """Until it ends by itself; its exit code."""
        return self._process.wait()

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Most resident memory so far."""
        return self._status_bytes("VmHWM")

    def cpu_s(self) -> float:
        """Processor time so far, of all its threads, user and system."""
        text = Path(f"/proc/{self.pid}/stat").read_text("ascii")
        fields = text.rpartition(")")[2].split()  # the program's name may hold spaces
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def said(self) -> str:
        """Its standard error so far."""
        return "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = _SERVING.search(line)
            if found and not self.address:
                self._ready_at = time.perf_counter()
                self.digest, self.address = found[1], found[2]
            self._lines.append(line)
            if self._echo and _ROUTINE not in line:
                print(line, end="", file=sys.stderr)
            if found:
                self._ready.set()
        self._ready.set()

    def _end(self) -> None:
        """SIGTERM and, where that takes too long, SIGKILL; harmless when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._reader.join(_STOP_S)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _status_bytes(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text("ascii")
        found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None, field
        return int(found[1]) * 1024
