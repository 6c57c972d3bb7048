"""`apsam-console`: a page to click, correct and save masks in, over a running apsam-serve."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import ipaddress
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from apsam_serve.client_cli.options import add_common, tls_of
from apsam_serve.errors import ApsamError

DEFAULT_PORT = 8080
DEFAULT_PROJECT = Path("apsam-project")
_log = logging.getLogger("apsam_serve.console")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 after a signal, 2 when the console cannot start."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="apsam-console: %(levelname)s: %(message)s")
    try:
        asyncio.run(_run(options))
    except ModuleNotFoundError as error:
        return _refuse(f"{error.name} is not installed; pip install 'apsam[console]'")
    except ApsamError as error:
        return _refuse(str(error))
    return 0


async def _run(options: argparse.Namespace) -> None:
    from apsam_serve.console.app import Settings, serving  # the base install lacks aiohttp

    settings = Settings(
        servers=options.server,
        project=options.project,
        listen=options.listen,
        port=options.port,
        hosts=options.host,
        images=options.images,
        reviewer=options.reviewer,
        round=options.round,
        timeout_s=options.timeout_s,
        tls=tls_of(options),
    )
    if not _is_local(options.listen):
        _log.warning(
            "--listen %s: whoever reaches this address may see, change and export the project; "
            "the page asks for no password and is not encrypted",
            options.listen,
        )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as address, contextlib.AsyncExitStack() as stack:
        if options.until_input_ends:
            stack.callback((await _watch_input(stop)).close)
        if options.json:
            print(json.dumps({"address": address, "project": str(options.project)}), flush=True)
        else:
            print(f"console on {address} for {', '.join(options.server)}", flush=True)
        await stop.wait()


async def _watch_input(stop: asyncio.Event) -> asyncio.ReadTransport:
    """Ends with the process that holds the other end of standard input, however that ends."""

    class Watch(asyncio.Protocol):
        def eof_received(self) -> None:
            stop.set()

        def connection_lost(self, exc: Exception | None) -> None:
            stop.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(Watch, sys.stdin)
    return transport


def _is_local(listen: str) -> bool:
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        return listen == "localhost"


def _refuse(message: str) -> int:
    print(f"apsam-console: error: {message}", file=sys.stderr)
    return 2


def _reviewer() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apsam-console", description=__doc__)
    add_common(parser)
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="of the page, 0 picks one (%(default)s)"
    )
    parser.add_argument(
        "--listen", default="127.0.0.1", metavar="HOST", help="of the page (%(default)s)"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="that the page is opened under beside that, as behind a proxy; again for several",
    )
    parser.add_argument(
        "--project", type=Path, default=DEFAULT_PROJECT, help="folder for the work (%(default)s)"
    )
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="let folders below this one be imported"
    )
    parser.add_argument("--reviewer", default=_reviewer(), help="who works (%(default)s)")
    parser.add_argument("--round", type=int, default=1, help="of annotation (%(default)s)")
    parser.add_argument("--until-input-ends", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
