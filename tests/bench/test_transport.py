"""The benchmark in miniature: its document's fields, never a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import transport
from bench.measure.document import Document


def test_every_payload_goes_there_and_back_with_both_clients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "transport.json"
    assert transport.main(["--rounds", "2", "--json", str(written)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(written.read_text())
    rows = Document.read(written).rows
    names = [payload.name for payload in transport.PAYLOADS]
    assert [row.name for row in rows] == names * 2
    assert {row.group for row in rows} == {"blocking client", "asyncio client"}
    assert all(len(row.samples) == 2 and min(row.samples) > 0 for row in rows)
