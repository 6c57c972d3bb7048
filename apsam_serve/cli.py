"""`apsam-serve`: serve a bundle over gRPC."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from apsam_serve.config import LogFormat, ServeConfig
from apsam_serve.console.child import console_of
from apsam_serve.errors import ApsamError

_CLICKED_MASKS = 32
"""Kept per image where people click: who undoes a few steps and goes on refines an older mask."""
_SWITCH_S = 0.001
"""How long one Python thread may keep the others waiting; Python's own 5 ms is as long as a click,
which passes through four threads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 after a drain, 2 when the server cannot start."""
    options = vars(_parser().parse_args(argv))
    if options["masks_per_image"] is None:
        clicked = options["console"] is not None
        options["masks_per_image"] = _CLICKED_MASKS if clicked else ServeConfig.masks_per_image
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
        config = ServeConfig(**options)
        asyncio.run(run(config, beside=None if config.console is None else console_of(config)))
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

    def switch(name: str, text: str) -> None:
        parser.add_argument(name, action="store_true", help=text)

    parser.add_argument("--bundle", type=Path, required=True, help="folder of apsam-export")
    add("--listen", str, "HOST:PORT, port 0 picks a free one (%(default)s)")
    add("--advertise", str, "HOST:PORT that handles name, where clients reach this very process")
    add("--backend", str, "onnxruntime, tensorrt for plans, or fake for rehearsals (%(default)s)")
    add("--device", str, "cpu, or what the back end offers (%(default)s)")
    add("--build", str, "which build of the bundle, as apsam-export --inspect lists them")
    switch("--allow-unverified", "serve a build that has not passed its gate; health tells")
    add("--require-signature", Path, "PUBLIC_KEY that must have signed the bundle (BUNDLE.sig)")
    add("--reload-s", float, "seconds between looks for another bundle; SIGHUP looks at once")
    add("--cache", Path, "folder where a back end keeps what it compiled")
    add("--threads", int, "CPU threads per graph call, 0 for one per core")
    add("--host-threads", int, "threads that decode images, 0 for up to four")
    add("--batch-images", int, "images encoded at once, 0 for 1 on a CPU and 8 on a GPU")
    add("--batch-prompts", int, "prompts decoded at once, 0 for 8 on a CPU and 64 on a GPU")
    add("--budget-bytes", int, "memory for held images, 0 for a quarter of all, at most 2 GiB")
    parser.add_argument(
        "--masks-per-image",
        type=int,
        help=f"masks kept per image for refining ({default['masks_per_image']}, "
        f"{_CLICKED_MASKS} with --console)",
    )
    add("--ttl-s", float, "seconds until an unused handle expires (%(default)s)")
    add("--max-ttl-s", float, "the longest that a caller may ask for (%(default)s)")
    add("--max-pixels", int, "largest image (%(default)s)")
    add("--max-message-bytes", int, "largest gRPC message (%(default)s)")
    add("--replay-bytes", int, "replies kept for retries with a request id (%(default)s)")
    add("--tls-key", Path, "PEM file of the server's private key")
    add("--tls-certificate", Path, "PEM file of its certificate chain")
    add("--tls-client-ca", Path, "PEM file; callers must show a certificate of it")
    add("--access", Path, "TOML file of identities, their methods and rates")
    switch("--allow-plaintext", "serve without TLS beyond this machine")
    add("--audit-log", Path, "append a hash-chained record of every answer to this file")
    parser.add_argument(
        "--log-format", choices=get_args(LogFormat), default="auto", help="(%(default)s)"
    )
    switch("--traces", "send OpenTelemetry traces, as the OTEL_* variables say")
    add("--metrics-port", int, "serve Prometheus metrics over HTTP on this port")
    switch("--kserve", "offer the KServe v2 protocol too")
    add("--console", int, "serve a page to click in on this port of 127.0.0.1")
    add("--console-project", Path, "folder where the page's work is saved (%(default)s)")
    add("--grace-s", float, "seconds for calls in flight after SIGTERM (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
