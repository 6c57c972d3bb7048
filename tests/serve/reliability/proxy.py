"""A wire between client and server that can go dead without anybody hanging up."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_CHUNK = 64 * 2**10


class Proxy:
    """`with Proxy(server.address) as wire:` forwards what comes to `wire.address`.

    bytes_per_s: at most, towards the server, 0 for no limit; dead_after: bytes towards the server,
    after which nothing is forwarded and nothing is closed, as when a station loses its power.
    """

    def __init__(self, target: str, *, bytes_per_s: int = 0, dead_after: float = math.inf) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._bytes_per_s = bytes_per_s
        self._dead_after = dead_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self.num_up = 0
        """Bytes that went to the server."""

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._flowing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            _hang_up(one)
        for thread in self._threads:
            thread.join(10)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def dead(self) -> bool:
        return not self._flowing.is_set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            self._start(self._pump, client, server, True)
            self._start(self._pump, server, client, False)

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        """Until either end hangs up; then both do."""
        try:
            while data := source.recv(_CHUNK):
                self._flowing.wait()
                if self._closing.is_set():
                    break
                sink.sendall(data)
                if up:
                    self.num_up += len(data)
                    if self.num_up >= self._dead_after:
                        self._flowing.clear()
                    if self._bytes_per_s:
                        time.sleep(len(data) / self._bytes_per_s)
        except OSError:
            return  # somebody else has hung up
        finally:
            for one in (source, sink):
                _hang_up(one)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):  # closed already
        one.shutdown(socket.SHUT_RDWR)
    one.close()
