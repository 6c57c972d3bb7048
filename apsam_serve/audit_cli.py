"""`apsam-audit`: check audit logs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from apsam_serve.errors import AuditBrokenError
from apsam_serve.progress import Progress
from apsam_serve.service.audit_chain import GENESIS, Chain, verify


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when every line is as it was written, 1 for the first that is not."""
    options = _parser().parse_args(argv)
    chains: list[Chain] = []
    try:
        for path in options.files:
            expected = options.expect_hash if path == options.files[-1] else ""
            chain = _verified(path, expected)
            if chains and chain.previous != chains[-1].last_hash:
                raise AuditBrokenError(
                    f"{path} line 1: the file continues {chain.previous}, and the file before it "
                    f"here ends in {chains[-1].last_hash}; one is missing, or give them in order"
                )
            chains.append(chain)
            if not options.json:
                _print(path, chain)
    except AuditBrokenError as error:
        if options.json:
            print(json.dumps({"sound": False, "error": str(error)}))
        print(f"apsam-audit: error: {error}", file=sys.stderr)
        return 1
    if options.json:
        pairs = zip(options.files, chains, strict=True)
        files = [{"file": str(path), **asdict(chain)} for path, chain in pairs]
        print(json.dumps({"sound": True, "files": files}))
    return 0


def _verified(path: Path, expected: str) -> Chain:
    with Progress(f"verify {path.name}") as bar:
        return verify(path, expect_hash=expected, watch=lambda share: bar.show(share, ""))


def _print(path: Path, chain: Chain) -> None:
    print(f"{path}: sound, {chain.num_records} records")
    print(f"  from {chain.first_time} to {chain.last_time}")
    print(f"  last hash {chain.last_hash}")
    if chain.previous != GENESIS:
        print(f"  continues the file that ends in {chain.previous}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apsam-audit", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser(
        "verify",
        help="check that nothing was changed, removed, added or moved",
        description="Check every line. Several files must continue one another, the oldest first.",
    )
    check.add_argument("files", type=Path, nargs="+", metavar="FILE")
    check.add_argument(
        "--expect-hash",
        default="",
        metavar="HASH",
        help="a last hash noted earlier, which the last FILE must still hold",
    )
    check.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
