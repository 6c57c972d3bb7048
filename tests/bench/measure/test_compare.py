"""Two runs against each other: what is told apart, and what is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.measure.compare import NO_DIFFERENCE, compare, verdict
from bench.measure.distribution import Interval
from bench.measure.document import Document, MaskIou, Row

CARD: dict[str, Any] = {"date": "2026-01-01", "cpu": "one", "versions": {"numpy": "2.1"}}
FASTER = Interval(value=0.8, low=0.7, high=0.9)
SLOWER = Interval(value=1.2, low=1.1, high=1.3)
EITHER = Interval(value=0.95, low=0.9, high=1.01)


def samples(median: float, *, seed: int, num: int = 300) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(one) for one in median * np.exp(rng.normal(0, 0.05, num))]


def run(*rows: Row, **changes: Any) -> Document:
    """As it is after a trip through a file."""
    document = Document(
        benchmark="latency", settings={"threads": 2, "peers": ("a", "b")}, rows=rows, card=CARD,
        command="",
    )  # fmt: skip
    return Document.from_json(json.loads(json.dumps(replace(document, **changes).to_json())))


def row(name: str, of: Sequence[float], **changes: Any) -> Row:
    return Row(name=name, group="click", samples=of, **changes)


def line_of(text: str, name: str) -> list[str]:
    (line,) = (one for one in text.splitlines() if one.startswith(f"| click | {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("p50", "p99", "expected"),
    [
        (FASTER, FASTER, "ran faster"),
        (SLOWER, SLOWER, "ran slower"),
        (EITHER, EITHER, NO_DIFFERENCE),
        (FASTER, SLOWER, "p50 ran faster, p99 ran slower"),
        (FASTER, EITHER, f"p50 ran faster, p99 {NO_DIFFERENCE}"),
        (SLOWER, None, "ran slower"),
        (None, None, "not comparable"),
    ],
)
def test_a_verdict_is_spoken_only_where_the_interval_excludes_one(
    p50: Interval | None, p99: Interval | None, expected: str
) -> None:
    assert verdict({"p50": p50, "p99": p99}) == expected


def test_a_row_that_became_faster_is_told_from_one_that_did_not() -> None:
    accurate, worse = (MaskIou(num=9, minimum=one, mean=1) for one in (0.999, 0.81))
    a = run(
        row("ours", samples(10, seed=1), mask_iou=accurate),
        row("same", samples(10, seed=2)),
        row("little", samples(10, seed=3, num=9)),
    )
    b = run(
        row("ours", samples(5, seed=4), mask_iou=worse, errors={"INTERNAL": 1}),
        row("same", samples(10, seed=5)),
        row("little", samples(5, seed=6, num=9)),
    )
    text = compare(a, b)
    ours = line_of(text, "ours")
    assert ours[-1] == "ran faster"
    assert 0.48 < float(ours[4].split()[0]) < 0.52
    assert ours[6:10] == ["0.9990", "0.8100", "0", "1 INTERNAL"]
    assert line_of(text, "same")[-1] == NO_DIFFERENCE
    assert line_of(text, "little")[-1] == "not comparable"
    assert "Machine, settings and versions are the same." in text
    assert "drift" in text
    assert line_of(compare(b, a), "ours")[-1] == "ran slower"


def test_rows_of_one_side_are_listed_and_not_compared() -> None:
    text = compare(run(row("old", [1.0])), run(row("new", [1.0])))
    assert "No row is in both." in text
    assert "Only in A:\n\n- click: old" in text
    assert "Only in B:\n\n- click: new" in text


def test_different_machines_versions_and_settings_are_told_and_dates_are_not() -> None:
    a = run(row("ours", [1.0]))
    b = run(
        row("ours", [1.0]),
        card={"date": "2026-02-02", "cpu": "other", "versions": {"numpy": "2.2"}, "gpus": ["L4"]},
        settings={"threads": 4, "peers": ("a", "b")},
    )
    text = compare(a, b)
    assert "Machine and versions differ" in text
    for fact in (
        "- cpu: one in A, other in B",
        "- versions.numpy: 2.1 in A, 2.2 in B",
        "- gpus: not told in A, L4 in B",
        "- threads: 2 in A, 4 in B",
    ):
        assert fact in text
    assert "- date" not in text
    assert "- peers" not in text


def test_rows_in_other_units_or_without_answers_are_not_compared() -> None:
    a = run(row("unit", samples(1, seed=1)), row("dead", samples(1, seed=1)))
    b = run(row("unit", samples(1, seed=2), unit="s"), row("dead", []))
    text = compare(a, b)
    assert line_of(text, "unit")[-1] == "not comparable"
    assert line_of(text, "dead")[3:5] == ["no answers", ""]


def test_rows_that_share_a_name_are_refused() -> None:
    twice = run(row("ours", [1.0]), row("ours", [2.0]))
    with pytest.raises(ValueError, match=r"2 rows of latency have 1 names.*a name of its own"):
        compare(twice, twice)
