"""A run as one HTML file without scripts or links: what was measured, how, where, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.measure import plots
from bench.measure.distribution import NEEDED, Distribution
from bench.measure.document import Document, Figure, Row
from bench.measure.page_style import STYLE
from bench.measure.table import number

_HEADINGS = (
    *("row", "n", "unit", "p50", "p90", "p99", "p99.9", "max"),
    *("mask IoU min", "mean", "errors"),
)
_NOTE = (
    "n: answers measured, after the warm-up. Grey: fewer samples than that quantile needs, so it "
    "says little more than the largest of them. Mask IoU: the masks of this row against those of "
    "the FP32 reference, on the same images and clicks; a dash where masks were not compared."
)


def write(document: Document, path: Path) -> None:
    """Write the report; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(document), encoding="utf-8")


def page(document: Document) -> str:
    """The report as HTML."""
    title = f"APSAM benchmark: {document.benchmark}"
    names = dict.fromkeys(row.group for row in document.rows)
    groups = [(name, [row for row in document.rows if row.group == name]) for name in names]
    parts = [
        f'<h1>{escape(title)}</h1><p class="lead">{escape(_machine(document.card))}</p>',
        f"<pre>{escape(document.command)}</pre>" if document.command else "",
        _figures(document.figures),
        f"<h2>Speed and accuracy</h2>{_rows(groups)}<p class='note'>{escape(_NOTE)}</p>",
        *(_group(name, rows) for name, rows in groups),
        f"<h2>Settings</h2>{_facts(document.settings)}",
        f"<h2>Machine</h2>{_facts(document.card)}",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _machine(card: Mapping[str, Any]) -> str:
    """What matters most of a card; the rest of it stands at the end."""
    revision = str(card.get("revision", ""))[:10] + (" and changes" if card.get("dirty") else "")
    gpus = [str(gpu.get("name", "GPU")) for gpu in card.get("gpus", ())]
    parts = [
        f"{card.get('cores', '?')} cores, {card.get('cpu', 'CPU not known')}",
        ", ".join(gpus) or "no GPU",
        f"{card['memory_gib']} GiB" if "memory_gib" in card else "",
        f"revision {revision}" if revision else "",
        str(card.get("date", "")),
    ]
    return " \u00b7 ".join(filter(None, parts))


def _figures(figures: Sequence[Figure]) -> str:
    tiles = []
    for figure in figures:
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f"95 %: {number(figure.low)} to {number(figure.high)}"
        value = "\u2013" if figure.refused else number(figure.value)
        why = f"not compared: {figure.refused}" if figure.refused else ""
        small = "".join(
            f"<small>{escape(one)}</small>" for one in (interval, why, figure.detail) if one
        )
        tiles.append(
            f"<div><span>{escape(figure.key.replace('_', ' '))}</span><b>{value}</b>{small}</div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _rows(groups: Iterable[tuple[str, Sequence[Row]]]) -> str:
    lines = []
    for name, rows in groups:
        if name:
            lines.append(
                f'<tr><th class="group" colspan="{len(_HEADINGS)}">{escape(name)}</th></tr>'
            )
        lines += [_row(row) for row in rows]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in _HEADINGS)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{"".join(lines)}</table></div>'


def _row(row: Row) -> str:
    figures = ", ".join(_named(key, value) for key, value in row.figures.items())
    small = "".join(f"<small>{escape(one)}</small>" for one in (figures, row.note) if one)
    errors = ", ".join(f"{count} {code}" for code, count in row.errors.items() if count)
    iou = row.mask_iou
    cells = [
        f"{escape(row.name)}{small}",
        f"{len(row.samples):,}",
        escape(row.unit),
        *_quantiles(row),
        *(("\u2013", "\u2013") if iou is None else (f"{iou.minimum:.4f}", f"{iou.mean:.4f}")),
        f'<span class="bad">{escape(errors)}</span>' if errors else "0",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _quantiles(row: Row) -> list[str]:
    if not len(row.samples):
        return ["\u2013"] * len(NEEDED)
    found = Distribution.of(row.samples)
    cells = []
    for name, needed in NEEDED.items():
        words = number(getattr(found, name))
        cells.append(words if found.num >= needed else f'<span class="thin">{words}</span>')
    return cells


def _group(name: str, rows: Sequence[Row]) -> str:
    """The pictures of a group."""
    colours = [(plots.colour(place), row.name) for place, row in enumerate(rows)]
    pictures = [
        ("How latency is distributed", "Dots: p50, p90, p99.", colours, plots.distributions(rows)),
        (
            "How latency grows with load",
            "Solid: p50, dashed: p99. Hollow: less was answered than was offered.",
            [(plots.colour(place), label) for place, label in enumerate(plots.series(rows))],
            plots.throughput(rows),
        ),
        (
            "What the time goes into",
            "Mean time of the stages that each reports.",
            (),
            drawn_stages + _stages(rows) if (drawn_stages := plots.stages(rows)) else "",
        ),
        (
            "Latency over time",
            "Samples in order; the line is the running median.",
            (),
            plots.over_time(rows),
        ),
    ]
    drawn = "".join(_picture(*picture) for picture in pictures if picture[-1])
    return f"<section><h2>{escape(name or 'Pictures')}</h2>{drawn}</section>" if drawn else ""


def _stages(rows: Sequence[Row]) -> str:
    """The bars in numbers; its head is their legend."""
    names = plots.stage_names(rows)
    heads = [
        f'<th><i class="{plots.stage_colour(one, names)}"></i>{escape(one)}</th>' for one in names
    ]
    lines = []
    for row in rows:
        if row.stages:
            spent = plots.means(row)
            cells = [number(spent[name]) if name in spent else "\u2013" for name in names]
            words = "".join(f"<td>{cell}</td>" for cell in cells)
            lines.append(f"<tr><td>{escape(row.name)}</td>{words}</tr>")
    head = f"<thead><tr><th>mean ms</th>{''.join(heads)}</tr></thead>"
    return f'<div class="wide"><table class="small">{head}{"".join(lines)}</table></div>'


def _named(key: str, value: float) -> str:
    """A figure of a row, its unit where people write it."""
    name, per_s, _ = key.partition("_per_s")
    words = f"{name} {number(value)}/s" if per_s else f"{key} {number(value)}"
    return words.replace("_", " ")


def _picture(title: str, note: str, legend: Sequence[tuple[str, str]], svg: str) -> str:
    keys = "".join(f'<li><i class="{css}"></i>{escape(label)}</li>' for css, label in legend)
    caption = f"<figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>"
    return f"<figure>{caption}{f'<ul>{keys}</ul>' if keys else ''}{svg}</figure>"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(str(key).replace('_', ' '))}</th><td>{escape(_words(value))}</td></tr>"
        for key, value in facts.items()
    )
    return f'<table class="facts">{rows}</table>'


def _words(value: Any) -> str:
    """A value of JSON in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
