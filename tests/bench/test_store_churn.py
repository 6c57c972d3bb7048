from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import store_churn
from bench.measure.document import Document


def test_every_operation_is_timed_for_every_size_with_and_without_the_check(
    tmp_path: Path,
) -> None:
    path = tmp_path / "found.json"
    assert (store_churn.main(["--entries", "4,64", "--seconds", "0.005", "--json", str(path)])) == 0
    document = Document.from_json(json.loads(path.read_text("utf-8")))
    expected = [f"{name}, {size} images" for size in (4, 64) for name in store_churn.OPERATIONS]
    assert [row.name for row in document.rows] == 2 * expected
    assert all(row.figures["rate_per_s"] > 0 for row in document.rows)
    (figure,) = document.figures
    assert figure.key == "store_p99_us"


@pytest.mark.parametrize(
    ("name", "event"),
    [("lease", "hit"), ("replace", "deleted"), ("evict", "evicted"), ("expire", "expired")],
)
def test_an_operation_does_what_its_name_says_once_and_leaves_the_store_full(
    name: str, event: str
) -> None:
    held = store_churn.Churn(8)
    for _ in range(20):
        store_churn.OPERATIONS[name](held)
    held.store.check_integrity()
    assert len(held.store) == 8
    assert held.store.events[event] == 20
    assert {"deleted", "evicted", "expired", "hit", "miss"} & held.store.events.keys() == {event}
