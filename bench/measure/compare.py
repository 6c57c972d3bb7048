"""Two runs against each other: `--compare A.json B.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.measure.distribution import Distribution, Interval, ratio
from bench.measure.document import Document, Row
from bench.measure.slo import MS_PER
from bench.measure.table import number

QUANTILES = {"p50": (0.5, 10), "p99": (0.99, 100)}
"""Name -> quantile, and the samples below which nothing can be said about it."""
NO_DIFFERENCE = "no difference shown"
_HEADINGS = (
    *("group", "row", "p50 A", "p50 B", "p50 B/A (95 %)", "p99 B/A (95 %)"),
    *("mask IoU min A", "min B", "errors A", "errors B", "B"),
)
_UNMEASURED = {"date"}
"""Of the card: differs between any two runs and says nothing about their speed."""
_NOTE = (
    "B/A below 1: B ran faster. Intervals: moving-block bootstrap of the samples of both runs, "
    "95 % each. They know nothing of what changed between the runs: the machine's own drift, on "
    "shared cores tens of per cent, is in the ratio and not in its interval. Believe a difference "
    "that comes back when A and B are measured again, one after the other. Not compared: p50 of "
    "fewer than {p50} samples, p99 of fewer than {p99}."
)


def compare(a: Document, b: Document) -> str:
    """Markdown: rows matched by group and name, a verdict where an interval excludes 1, and what
    else differs between the runs. Raises ValueError where rows of a run share a name."""
    rows_a, rows_b = _by_name(a), _by_name(b)
    both = [key for key in rows_a if key in rows_b]
    table = [_HEADINGS, ("---",) * len(_HEADINGS)]
    table += [_row(rows_a[key], rows_b[key]) for key in both]
    parts = [
        f"# {b.benchmark} (B) against {a.benchmark} (A)",
        f"- A: {_when(a)}\n- B: {_when(b)}",
        "\n\n".join(_differences(a, b)) or "Machine, settings and versions are the same.",
        "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in table) if both else "",
        _NOTE.format(**{name: needed for name, (_, needed) in QUANTILES.items()})
        if both
        else "No row is in both.",
        _only("A", [key for key in rows_a if key not in rows_b]),
        _only("B", [key for key in rows_b if key not in rows_a]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def verdict(intervals: Mapping[str, Interval | None], *, is_time: bool = True) -> str:
    """What ratios of B over A show, quantile by quantile; once where all agree."""
    below, above = ("ran faster", "ran slower") if is_time else ("was smaller", "was larger")
    found = {
        name: below if one.high < 1 else above if one.low > 1 else NO_DIFFERENCE
        for name, one in intervals.items()
        if one is not None
    }
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{name} {words}" for name, words in found.items()) or "not comparable"


def _row(a: Row, b: Row) -> tuple[str, ...]:
    intervals = {name: _ratio(a, b, *needs) for name, needs in QUANTILES.items()}
    return (
        *(a.group, a.name, _p50(a), _p50(b), *map(_interval, intervals.values())),
        *(_iou(a), _iou(b), _errors(a), _errors(b)),
        verdict(intervals, is_time=a.unit in MS_PER),
    )


def _ratio(a: Row, b: Row, quantile: float, needed: int) -> Interval | None:
    """B over A; None where there is too little to go by, or they are not the same quantity."""
    if a.unit != b.unit or min(len(a.samples), len(b.samples)) < needed:
        return None
    return ratio(b.samples, a.samples, quantile=quantile)


def _by_name(document: Document) -> dict[tuple[str, str], Row]:
    found = {(row.group, row.name): row for row in document.rows}
    if len(found) < len(document.rows):
        raise ValueError(
            f"{len(document.rows)} rows of {document.benchmark} have {len(found)} names, expected "
            "as many; give each row of a group a name of its own"
        )
    return found


def _differences(a: Document, b: Document) -> Iterator[str]:
    """A list of the facts in which the runs differ, for each kind of them."""
    for what, left, right in (
        ("Machine and versions", a.card, b.card),
        ("Settings", a.settings, b.settings),
    ):
        facts_a, facts_b = dict(_flat(left)), dict(_flat(right))
        keys = [key for key in {**facts_a, **facts_b} if key not in _UNMEASURED]
        lines = [
            f"- {key}: {facts_a.get(key, 'not told')} in A, {facts_b.get(key, 'not told')} in B"
            for key in keys
            if facts_a.get(key) != facts_b.get(key)
        ]
        if lines:
            yield "\n".join([f"{what} differ; the ratios speak of that too:", "", *lines])


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots, and values as text, so that JSON read back equals what was written."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{before}{key}", ", ".join(map(str, value))
        else:
            yield f"{before}{key}", str(value)


def _only(side: str, keys: Sequence[tuple[str, str]]) -> str:
    lines = [f"- {': '.join(filter(None, key))}" for key in keys]
    return "\n".join([f"Only in {side}:", "", *lines]) if lines else ""


def _when(document: Document) -> str:
    command = f", `{document.command}`" if document.command else ""
    return f"{document.card.get('date', 'no date')}{command}"


def _p50(row: Row) -> str:
    if not len(row.samples):
        return "no answers"
    return f"{number(Distribution.of(row.samples).p50)} {row.unit}"


def _interval(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _iou(row: Row) -> str:
    return "" if row.mask_iou is None else f"{row.mask_iou.minimum:.4f}"


def _errors(row: Row) -> str:
    return ", ".join(f"{count} {code}" for code, count in row.errors.items() if count) or "0"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")
