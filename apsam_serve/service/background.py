"""A server on its own thread, for tests, benchmarks and notebooks."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from apsam_serve.config import ServeConfig
from apsam_serve.service.server import Server


class BackgroundServer:
    """`with BackgroundServer(config) as running:` serves at `running.address` inside the block."""

    def __init__(self, config: ServeConfig) -> None:
        self.server = Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="apsam-serve")

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was found when the configuration said 0."""
        return self.server.address

    def __enter__(self) -> BackgroundServer:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.open(), self._loop).result()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
