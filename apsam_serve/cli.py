"""`apsam-serve`: serve a bundle over gRPC."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from apsam_serve.config import ServeConfig
from apsam_serve.errors import ApsamError

_SWITCH_S = 0.001
"""How long one Python thread may keep the others waiting; Python's own 5 ms is as long as a click,
which passes through four threads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 after a drain, 2 when the server cannot start."""
    options = vars(_parser().parse_args(argv))
    sys.setswitchinterval(_SWITCH_S)
    logging.basicConfig(level=logging.INFO, format="apsam-serve: %(levelname)s: %(message)s")
    try:
        from apsam_serve.service.server import run  # the client's install lacks its libraries
    except ModuleNotFoundError as error:
        print(
            f"apsam-serve: error: {error.name} is not installed; pip install 'apsam[serve]'",
            file=sys.stderr,
        )
        return 2
    try:
        asyncio.run(run(ServeConfig(**options)))
    except ApsamError as error:
        print(f"apsam-serve: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    default = {field.name: field.default for field in fields(ServeConfig)}
    parser = argparse.ArgumentParser(prog="apsam-serve", description=__doc__)

    def add(name: str, kind: type, text: str) -> None:
        key = name.removeprefix("--").replace("-", "_")
        parser.add_argument(name, type=kind, default=default[key], help=text)

    parser.add_argument("--bundle", type=Path, required=True, help="folder of apsam-export")
    add("--listen", str, "HOST:PORT, port 0 picks a free one (%(default)s)")
    add("--backend", str, "onnxruntime, tensorrt for plans, or fake for rehearsals (%(default)s)")
    add("--device", str, "cpu, or what the back end offers (%(default)s)")
    add("--build", str, "which build of the bundle, as apsam-export --inspect lists them")
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="serve a build that has not passed its gate; health tells",
    )
    add("--require-signature", Path, "PUBLIC_KEY that must have signed the bundle (BUNDLE.sig)")
    add("--threads", int, "CPU threads per graph call, 0 for one per core")
    add("--host-threads", int, "threads that decode images, 0 for up to four")
    add("--budget-bytes", int, "memory for held images, 0 for a quarter of all, at most 2 GiB")
    add("--ttl-s", float, "seconds until an unused handle expires (%(default)s)")
    add("--max-pixels", int, "largest image (%(default)s)")
    add("--max-message-bytes", int, "largest gRPC message (%(default)s)")
    add("--grace-s", float, "seconds for calls in flight after SIGTERM (%(default)s)")
    add("--metrics-port", int, "serve Prometheus metrics over HTTP on this port")
    return parser


if __name__ == "__main__":
    sys.exit(main())
