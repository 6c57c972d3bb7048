"""A document as tables, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.measure.distribution import NEEDED, Distribution

if TYPE_CHECKING:
    from bench.measure.document import Document, Row

_COLUMNS = ("measured", "unit", "n", "p50", "p90", "p99", "p99.9", "max", "mask IoU min, mean")


def markdown(document: Document) -> str:
    """Rows as one Markdown table per group, stages below it, then the figures."""
    groups = dict.fromkeys(row.group for row in document.rows)
    parts = [_group(name, [row for row in document.rows if row.group == name]) for name in groups]
    if document.figures:
        parts.append(_figures(document))
    return "\n\n".join(parts)


def _group(name: str, rows: list[Row]) -> str:
    lines = [f"### {name}", ""] if name else []
    lines += [_line((*_COLUMNS, "errors", "more")), _line(["---"] * (len(_COLUMNS) + 2))]
    lines += [_line(_cells(row)) for row in rows]
    stages = [row for row in rows if any(len(values) for values in row.stages.values())]
    if stages:
        lines += ["", _stages(stages)]
    lines += [f"\n{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    iou = "" if row.mask_iou is None else f"{row.mask_iou.minimum:.4f}, {row.mask_iou.mean:.4f}"
    numbers = [""] * 6
    if len(row.samples):
        of = Distribution.of(row.samples)
        numbers = [str(of.num), *(_quantile(of, name) for name in NEEDED)]
    errors = ", ".join(f"{code} {count}" for code, count in row.errors.items())
    return [row.name, row.unit, *numbers, iou, errors or "0", _pairs(row.figures)]


def _stages(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.stages))
    lines = [_line(["stages, p50 / p99 in ms", *names]), _line(["---"] * (1 + len(names)))]
    for row in rows:
        cells = [row.name]
        for name in names:
            values = row.stages.get(name, ())
            of = Distribution.of(values) if len(values) else None
            both = (_quantile(of, "p50"), _quantile(of, "p99")) if of else ()
            cells.append(" / ".join(filter(None, both)))
        lines.append(_line(cells))
    return "\n".join(lines)


def _quantile(of: Distribution, name: str) -> str:
    """Nothing where there are too few samples to speak of it."""
    return number(getattr(of, name)) if of.num >= NEEDED[name] else ""


def _figures(document: Document) -> str:
    lines = [_line(("figure", "value", "95 %", "detail")), _line(["---"] * 4)]
    for one in document.figures:
        between = (
            "" if one.low is None or one.high is None else f"{number(one.low)} - {number(one.high)}"
        )
        value, detail = number(one.value), one.detail
        if one.refused:
            value, detail = "", f"not compared: {one.refused}; {one.detail}"
        lines.append(_line((one.key, value, between, detail)))
    return "\n".join(lines)


def _pairs(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {number(value)}" for key, value in figures.items())


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three digits that count; integers whole."""
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
