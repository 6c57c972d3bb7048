"""A console beside the service that starts it: a process of its own, so that neither waits for the
other's Python, and whose end is no trouble of the service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from apsam_serve.config import ServeConfig

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_PATIENCE_S = 5.0
"""How long it may take to end."""
_log = logging.getLogger("apsam_serve.console")


def console_of(config: ServeConfig) -> Callable[[str], AbstractAsyncContextManager[None]]:
    """What `service.server.run` is to keep beside itself."""
    assert config.console is not None
    port, project = config.console, config.console_project
    return lambda address: console(address, port=port, project=project)


@asynccontextmanager
async def console(address: str, *, port: int, project: Path) -> AsyncIterator[None]:
    """Run a console for the service at that address inside the block. What happens to it is
    logged, and never raised."""
    watching = asyncio.create_task(_run(_command(address, port=port, project=project)))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _command(address: str, *, port: int, project: Path) -> list[str]:
    host, _, service_port = address.rpartition(":")
    server = f"{_EVERYWHERE.get(host, host)}:{service_port}"
    options = ["--server", server, "--port", str(port), "--project", str(project)]
    # Whatever becomes of this process, its end of the pipe is closed then.
    return ["-m", "apsam_serve.console.cli", *options, "--json", "--until-input-ends"]


async def _run(command: list[str]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is for the service, which tells it
        )
    except OSError as error:
        _log.error("the console did not start (%s); the service goes on", error)
        return
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        await asyncio.gather(_announce(process.stdout), _pass_on(process.stderr))
        code = await process.wait()
        _log.error("the console ended with exit code %d; the service goes on", code)
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _announce(lines: asyncio.StreamReader) -> None:
    async for line in lines:
        told = json.loads(line)
        _log.info("console on %s, work saved in %s", told["address"], told["project"])


async def _pass_on(lines: asyncio.StreamReader) -> None:
    async for line in lines:
        _log.warning("%s", line.decode(errors="replace").rstrip())
