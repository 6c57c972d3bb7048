"""How a command ends: tables for people, or one JSON document for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from apsam_train.tables import Table, show


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def give(document: Mapping[str, Any], *parts: str | Table, as_json: bool) -> None:
    """Print `document` with every figure, or `parts` for people; nothing else of a command goes to
    standard output. Paths become text."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, default=str), flush=True)
    else:
        show(parts)
