from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.measure.document import MOST_SAMPLES, SCHEMA, Document, Figure, MaskIou, Row, publish


def document(samples: list[float]) -> Document:
    row = Row(
        name="APSAM",
        group="click, tiny",
        samples=samples,
        mask_iou=MaskIou.of([1.0, 0.5]),
        stages={"points": [1.0, 2.0]},
        errors={"UNAVAILABLE": 2},
        figures={"rate_per_s": 83.25},
        note="a | note",
    )
    figure = Figure(key="apg_ms", value=0.5, low=0.4, high=0.6, detail="p50")
    return Document(
        benchmark="test", settings={"bundle": Path("b")}, rows=[row], figures=[figure], card=CARD
    )


CARD = {
    **{"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "python": "3", "date": "2026-01-02"},
    "gpus": [{"name": "a GPU", "driver_version": "1"}],
    "versions": {"numpy": "2"},
}


def test_a_document_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    publish(document([1.0, 3.0]), json_path=path)
    again = Document.read(path)
    assert again.to_json() == document([1.0, 3.0]).to_json()
    assert again.rows[0].mask_iou == MaskIou(num=2, minimum=0.5, mean=0.75)


def test_the_last_line_printed_is_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    publish(document([1.0, 3.0]))
    machine, *table, last = capsys.readouterr().out.strip().split("\n")
    assert machine == "a CPU, 2 cores, 8.0 GiB; a GPU (driver 1); Python 3; numpy 2; 2026-01-02"
    assert json.loads(last)["schema"] == SCHEMA
    row = next(line for line in table if line.startswith("| APSAM | ms |"))
    assert "| 0.5000, 0.7500 | UNAVAILABLE 2 |" in row


def test_distributions_are_of_all_samples_and_the_samples_written_are_not_all() -> None:
    (row,) = document([float(number) for number in range(10_001)]).to_json()["rows"]
    assert row["distribution"]["num"] == 10_001
    assert len(row["samples"]) == MOST_SAMPLES
    assert row["samples"][0] == 0
    assert row["samples"][-1] == 10_000
    assert row["stages"]["points"]["distribution"]["p50"] == 1.5


def test_a_row_without_answers_has_no_distribution() -> None:
    (row,) = document([]).to_json()["rows"]
    assert row["distribution"] is None
    assert row["errors"] == {"UNAVAILABLE": 2}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"schema": "other"}, "schema is 'other': expected 'apsam-bench/1'"),
        ([], "schema is 'list'"),
        ({"schema": SCHEMA}, "the document lacks 'benchmark'"),
    ],
)
def test_another_file_is_refused_with_what_was_expected(data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Document.from_json(data)
