"""One JSON line per finished image: what a killed run goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_train.errors import DatasetError

Line = dict[str, Any]


def read_journal(file: Path) -> list[Line]:
    """The lines of a journal, [] when there is none. Half a line at the end, which a killed run
    leaves, is cut off. Raises DatasetError when an earlier line is damaged."""
    if not file.exists():
        return []
    whole, _, rest = file.read_bytes().rpartition(b"\n")
    if rest:
        with file.open("r+b") as opened:
            opened.truncate(len(whole) + 1 if whole else 0)
    lines = []
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            raise DatasetError(
                f"{file} line {number} is damaged ({error}); delete that line, its image is then "
                "done again"
            ) from error
    return lines


def append_line(file: Path, line: Mapping[str, Any]) -> None:
    """Add one line; it is in the hands of the system when this returns."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(line) + "\n")
