"""Scales: where values lie, and ticks that people can read."""

from __future__ import annotations

import pytest

from bench.measure.svg import Scale, linear, logarithmic, text


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 1, False, [0, 0.25, 0.5, 0.75, 1]),
        (0, 84, False, [0, 25, 50, 75]),
        (9, 470, True, [10, 30, 100, 300]),
        (7, 31, True, [10, 20, 30]),
        (0.5, 20_000, True, [1, 10, 100, 1_000, 10_000]),
        (40, 44, True, [40, 41, 42, 43, 44]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, log: bool, expected: list[float]) -> None:
    scale = Scale(low=low, high=high, start=0, end=100, log=log)
    assert scale.ticks() == pytest.approx(expected)


def test_scales_run_from_start_to_end_and_hold_what_lies_outside() -> None:
    up = Scale(low=1, high=100, start=200, end=0, log=True)
    assert [up(value) for value in (1, 10, 100, 1_000)] == pytest.approx([200, 100, 0, 0])
    flat = linear([10, 20], start=0, end=21)
    assert [flat(value) for value in (0, 20, 21)] == pytest.approx([0, 20, 21])


def test_scales_of_nothing_still_have_room() -> None:
    assert logarithmic([], start=0, end=1).ticks()
    assert linear([], start=0, end=1).high > 0


def test_text_is_escaped() -> None:
    assert "&lt;b&gt;" in text(0, 0, "<b>")
