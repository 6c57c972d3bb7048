"""Options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apsam_serve.client import ProposeOptions, Tls
from apsam_serve.contract.prompts import Box

DEFAULT_SERVER = "127.0.0.1:50051"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Which servers, how long, TLS, --json."""
    parser.add_argument(
        "--server",
        action=_Servers,
        default=[DEFAULT_SERVER],
        metavar="HOST:PORT",
        help=f"of a server; again for each of several ({DEFAULT_SERVER})",
    )
    parser.add_argument(
        "--timeout-s", type=float, default=30.0, help="per call, with all retries (%(default)s)"
    )
    parser.add_argument("--tls", action="store_true", help="TLS with the usual authorities")
    parser.add_argument("--tls-ca", type=Path, metavar="PEM", help="TLS with this authority")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="this caller's key")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="and certificate")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_strategy(parser: argparse.ArgumentParser) -> None:
    """How a click becomes a mask."""
    parser.add_argument("--strategy", choices=("apg", "direct"), default="apg")


def add_propose(parser: argparse.ArgumentParser) -> None:
    """How many proposals, and which."""
    default = ProposeOptions()
    parser.add_argument(
        "--max-proposals", type=int, default=default.max_proposals, help="1 to 64 (%(default)s)"
    )
    parser.add_argument(
        "--min-score", type=float, default=default.min_score, help="least score (%(default)s)"
    )
    parser.add_argument(
        "--max-overlap",
        type=float,
        default=default.max_overlap,
        help="IoU above which two masks are one object (%(default)s)",
    )
    add_strategy(parser)


def propose_options(options: argparse.Namespace) -> ProposeOptions:
    """Raises InvalidInputError."""
    return ProposeOptions(
        max_proposals=options.max_proposals,
        min_score=options.min_score,
        max_overlap=options.max_overlap,
    )


def tls_of(options: argparse.Namespace) -> Tls | None:
    """None for plaintext; any of the options means TLS."""
    files = (options.tls_ca, options.tls_key, options.tls_certificate)
    if not options.tls and files == (None, None, None):
        return None
    return Tls(ca=options.tls_ca, key=options.tls_key, certificate=options.tls_certificate)


def point(text: str) -> tuple[float, ...]:
    """X,Y."""
    return _numbers(2, "X,Y")(text)


def box(text: str) -> Box:
    """L,T,R,B."""
    left, top, right, bottom = _numbers(4, "L,T,R,B")(text)
    return Box(left=left, top=top, right=right, bottom=bottom)


class _Servers(argparse.Action):
    """Appends, but to nothing: the default is for nobody who names a server."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(() if given is self.default else given), values])


def _numbers(count: int, form: str) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {form} in image pixels")
        return values

    return parse
