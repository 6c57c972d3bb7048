"""`python -m tests.clients`: run foreign clients against a server, and tell how it went.

Exit code 1 when a client that ran failed, 2 when none could be had: that never counts as passed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.clients.environments import NotToBeHadError, needed_tool, run
from tests.clients.server import serving
from tests.clients.sessions import CLIENTS, Client, Target, require_health


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """result: "passed", "failed" or "not to be had"; detail: what was done, or why not."""

    client: str
    version: str
    result: str
    detail: str


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of a table")
    options = parser.parse_args(argv)
    outcomes = []
    for client in CLIENTS:
        if options.only is None or client.name in options.only:
            outcomes.append(_outcome(client))
            if not options.json:
                print(_line(outcomes[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    results = Counter(outcome.result for outcome in outcomes)
    print(", ".join(f"{num} {result}" for result, num in results.items()), file=sys.stderr)
    if results["failed"]:
        return 1
    return 0 if results["passed"] else 2


def _outcome(client: Client) -> Outcome:
    """Of one client, which has a server of its own."""
    version = client.version

    def told(result: str, detail: str) -> Outcome:
        return Outcome(client=client.name, version=version, result=result, detail=detail)

    try:
        version = version or _version(client.name)
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address:
            target = Target(address=address, folder=Path(folder))
            detail = client.talk(target)
            require_health(target)
    except NotToBeHadError as error:
        return told("not to be had", str(error))
    except Exception as error:  # whatever went wrong, the other clients still have their turn
        return told("failed", f"{type(error).__name__}: {error}")
    return told("passed", detail)


def _version(program: str) -> str:
    printed = run(needed_tool(program), "--version")
    found = re.search(r"\d+\.\d+(\.\d+)?", printed)
    return found[0] if found else "?"


def _line(outcome: Outcome) -> str:
    name = f"{outcome.client} {outcome.version}"
    return f"{name:22} {outcome.result:14} {outcome.detail}"


if __name__ == "__main__":
    sys.exit(main())
