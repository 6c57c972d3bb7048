"""Tables say no more than their samples do."""

from __future__ import annotations

import pytest

from bench.measure.document import Document, Figure, Row
from bench.measure.table import markdown


def table(*rows: Row, figures: tuple[Figure, ...] = ()) -> list[list[str]]:
    document = Document(benchmark="x", settings={}, rows=rows, figures=figures, card={}, command="")
    lines = [line for line in markdown(document).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("num", "expected"),
    [
        (1, ["1", "5.00", "", "", "", "5.00"]),
        (10, ["10", "5.00", "5.00", "", "", "5.00"]),
        (100, ["100", "5.00", "5.00", "5.00", "", "5.00"]),
        (1000, ["1000", "5.00", "5.00", "5.00", "5.00", "5.00"]),
    ],
)
def test_a_quantile_that_the_samples_cannot_tell_is_left_out(num: int, expected: list[str]) -> None:
    row = Row(name="a", samples=[5.0] * num, stages={"mask": [1.0] * num})
    _, _, cells, _, _, stages = table(row)
    assert cells[2:8] == expected
    assert stages == ["a", "1.00 / 1.00" if num >= 100 else "1.00"]


def test_a_refused_figure_has_no_value_and_says_why() -> None:
    figures = (
        Figure(key="kept", value=2, low=1, high=3, detail="of two"),
        Figure(key="refused", value=0, detail="mask IoU 0.5", refused="other masks"),
    )
    *_, kept, refused = table(figures=figures)
    assert kept == ["kept", "2.00", "1.00 - 3.00", "of two"]
    assert refused == ["refused", "", "", "not compared: other masks; mask IoU 0.5"]
