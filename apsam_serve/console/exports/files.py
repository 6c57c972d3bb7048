"""Text files of an export."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """JSON with one record per line: a text editor and a diff can cope with it."""
    parts = []
    for key, value in document.items():
        if isinstance(value, Sequence) and not isinstance(value, str) and value:
            rows = ",\n".join(f"  {json.dumps(row)}" for row in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    file.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def write_csv(file: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with one line of column heads."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(heads)
        writer.writerows(rows)
