"""`python -m integrations.label_studio`: the ML back end as a process.

Environment: LABEL_STUDIO_API_KEY, a token to read images with; BASIC_AUTH_USER and BASIC_AUTH_PASS,
a login that Label Studio must come with.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from yarl import URL

from integrations.label_studio.app import BackendConfig, make_app
from integrations.label_studio.images import Sources

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = _config(options)
    host, port = options.listen
    if host not in _LOOPBACK and config.login is None:
        logging.warning(
            "%s is not this machine alone: whoever reaches it can see Label Studio's images; set "
            "BASIC_AUTH_USER and BASIC_AUTH_PASS",
            host,
        )
    web.run_app(make_app(config), host=host, port=port, access_log=None)
    return 0


def _config(options: argparse.Namespace) -> BackendConfig:
    user, password = os.getenv("BASIC_AUTH_USER"), os.getenv("BASIC_AUTH_PASS")
    return BackendConfig(
        servers=tuple(options.server.split(",")),
        sources=Sources(
            label_studio=options.label_studio,
            token=os.getenv("LABEL_STUDIO_API_KEY", ""),
            local_files=options.local_files,
            others=tuple(options.allow),
        ),
        strategy=options.strategy,
        propose=options.propose,
        simplify_px=options.simplify_px,
        login=(user, password) if user and password else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m integrations.label_studio",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--server", default="127.0.0.1:50051", help="HOST:PORT, several with commas (%(default)s)")
    add(
        "--label-studio",
        type=_http,
        default="http://localhost:8080",
        metavar="URL",
        help="its address (%(default)s)",
    )
    add(
        "--listen",
        type=_host_and_port,
        default="127.0.0.1:9090",
        metavar="HOST:PORT",
        help="of this back end (%(default)s)",
    )
    add("--strategy", choices=("apg", "direct"), default="apg", help="(%(default)s)")
    add("--propose", action="store_true", help="find objects in tasks without prompts")
    add("--simplify-px", type=float, default=1.0, help="of polygons, 0 for exact (%(default)s)")
    add("--local-files", type=Path, help="Label Studio's LOCAL_FILES_SERVING_DOCUMENT_ROOT")
    add(
        "--allow",
        type=_http,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="read images from there too, as https://images.example.com; may be given again",
    )
    return parser


def _http(text: str) -> str:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError(f"{text!r} is no http:// or https:// address")
    return text


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
