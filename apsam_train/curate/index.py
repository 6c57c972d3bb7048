"""Index files: a header line that says what the index was made from, then one record per line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from apsam_train.curate.record import Record, record_from_json
from apsam_train.files import whole_file


def stage_key(stage: str, *, source: str, options: Mapping[str, Any]) -> str:
    """What a finished stage is known by. source: digest of what it reads."""
    text = json.dumps([stage, source, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def header(file: Path) -> dict[str, Any]:
    """The header of an index; {} when there is none."""
    if not file.is_file():
        return {}
    with file.open("rb") as stream:
        line = stream.readline()
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def lines(file: Path) -> Iterator[str]:
    """The lines of an index after its header."""
    with file.open(encoding="utf-8") as stream:
        next(stream)
        yield from stream


def records(file: Path) -> list[Record]:
    """Every record of an index, those that it drops as well."""
    return [record_from_json(json.loads(line)["record"]) for line in lines(file)]


def write_index(
    file: Path, *, stage: str, key: str, notes: Mapping[str, Any], content: Iterable[Record]
) -> None:
    """Write an index; it appears whole or not at all."""
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"stage": stage, "key": key, "notes": notes}) + "\n")
        for record in content:
            stream.write(json.dumps({"record": record.to_json()}) + "\n")
