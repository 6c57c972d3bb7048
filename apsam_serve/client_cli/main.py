"""`apsam-client`: verbs, options that all of them share, and how each one ends."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from types import ModuleType

from apsam_serve.client import Client
from apsam_serve.client_cli import encode, health, info, propose, segment, session, watch
from apsam_serve.client_cli.options import add_common, tls_of
from apsam_serve.client_cli.result import Result
from apsam_serve.errors import ApsamError, InvalidInputError

VERBS: dict[str, tuple[ModuleType, str]] = {
    "segment": (segment, "the mask of one object"),
    "propose": (propose, "find objects without a click"),
    "session": (session, "steps from standard input as JSON lines, answers likewise"),
    "watch": (watch, "screen every new picture of a folder"),
    "encode": (encode, "encode an image and print its handle"),
    "health": (health, "whether servers serve"),
    "info": (info, "what servers run and allow"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for input that can never work, 1 for trouble with servers, 130 when
    interrupted. With --json the outcome, an error too, is one JSON document on standard output."""
    options = _parser().parse_args(argv)
    try:
        with Client(options.server, timeout_s=options.timeout_s, tls=tls_of(options)) as client:
            result: Result = options.run(client, options)
    except ApsamError as error:
        result = _failed(error)
    except KeyboardInterrupt:
        return 130
    if options.json and result.document is not None:
        print(json.dumps(result.document), flush=True)
    elif result.text:
        print(result.text, file=sys.stdout if result.error is None else sys.stderr, flush=True)
    return result.code


def _failed(error: ApsamError) -> Result:
    return Result(
        document={"error": {"reason": error.reason, "message": str(error)}},
        text=f"apsam-client: error: {error}",
        code=2 if isinstance(error, InvalidInputError) else 1,
        error=error,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="apsam-client", description="Ask servers for masks from the command line."
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, purpose) in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=purpose,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_common(verb)
        module.configure(verb)
        verb.set_defaults(run=module.run)
    return parser
