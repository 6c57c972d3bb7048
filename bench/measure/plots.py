"""The pictures of a report: how latency is distributed, drifts, is made up and grows under load.

Each function takes the rows of one group and returns a drawing, empty where it has nothing to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from apsam_serve.engine import replies
from bench.measure.distribution import NEEDED
from bench.measure.document import Row
from bench.measure.slo import MS_PER
from bench.measure.svg import (
    NUM_COLOURS,
    NUM_STAGE_COLOURS,
    WIDTH,
    Point,
    Scale,
    axes,
    bar,
    curve,
    dots,
    drawing,
    line,
    linear,
    logarithmic,
    text,
)
from bench.measure.table import number

STAGES = (*replies.STAGES, "network", "sender")
"""In the order a click passes them; stages of other names follow."""
REST = "not in a stage"
_NO_REST = 0.01
"""Of a row's mean: less is rounding."""
MARKED = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MAX_POINTS = 300
"""Of a curve or a strip: what more there is, pixels do not show."""
LEFT, RIGHT = 64, WIDTH - 16
_KEEPS_UP = 0.95
"""Of the offered rate; below it the waiting grows for as long as one measures."""


def colour(place: int) -> str:
    """The class of the row at a place of its group: eight colours, then the same ones dashed."""
    return f"c{place % NUM_COLOURS}" + (" dashed" if place >= NUM_COLOURS else "")


def distributions(rows: Sequence[Row]) -> str:
    """Share of answers by a time, times on a logarithmic scale; dots at p50, p90 and p99."""
    drawn = [(place, np.sort(row.samples)) for place, row in enumerate(rows) if _drawable(row)]
    if not drawn:
        return ""
    ends = [float(end) for _, values in drawn for end in (values[0], values[-1])]
    x = logarithmic(ends, start=LEFT, end=RIGHT)
    y = Scale(low=0, high=1, start=280, end=28)
    parts = [axes(x, y, x_label=f"latency, {rows[0].unit}", y_label="answered by", percent=True)]
    for place, values in drawn:
        shares = np.arange(1, len(values) + 1) / len(values)
        kept = _spread(len(values))
        steps = _steps([x(values[i]) for i in kept], [y(shares[i]) for i in kept], floor=y(0))
        told = [q for name, q in MARKED.items() if len(values) >= NEEDED[name]]
        marks = [(x(float(np.quantile(values, q))), y(q)) for q in told]
        parts += [
            curve(steps, css=f"line {colour(place)}"),
            _marks(marks, css=f"dot c{place % NUM_COLOURS}"),
        ]
    return drawing(parts, height=320, title="Distribution of latency")


def over_time(rows: Sequence[Row]) -> str:
    """One strip per row, samples in order, times on a logarithmic scale, with the running median:
    drift, warm-up and outliers. Where there are too many, the extremes are what is kept."""
    drawn = [(place, row) for place, row in enumerate(rows) if _drawable(row)]
    parts, top = [], 22
    for place, row in drawn:
        values = np.asarray(row.samples, np.float64)
        median = float(np.median(values))
        x = Scale(low=0, high=max(len(values) - 1, 1), start=LEFT, end=RIGHT)
        spread = [float(values.min()), float(values.max()), median / 1.6, median * 1.6]
        y = logarithmic(spread, start=top + 74, end=top)
        for tick in _few(y.ticks()):
            parts.append(line(LEFT, y(tick), RIGHT, y(tick), css="grid"))
            parts.append(text(LEFT - 6, y(tick) + 4, f"{tick:,g}", anchor="end"))
        parts.append(text(LEFT, top - 7, f"{row.name}, {row.unit}", css="label"))
        points = [(x(i), y(values[i])) for i in _extremes(values)]
        parts.append(dots(points, css=f"mote c{place % NUM_COLOURS}"))
        parts.append(curve(list(_running(values, x, y)), css="median"))
        parts.append(text(RIGHT, top - 7, f"{len(values):,} in order", anchor="end"))
        top += 112
    return drawing(parts, height=top - 32, title="Latency over time") if drawn else ""


def stages(rows: Sequence[Row]) -> str:
    """Mean milliseconds per stage, one bar per row that told its stages apart."""
    drawn = [(row, means(row)) for row in rows if row.stages]
    if not drawn:
        return ""
    names = stage_names(rows)
    longest = max(sum(parts.values()) for _, parts in drawn)
    x = Scale(low=0, high=longest or 1, start=LEFT, end=RIGHT - 70)
    pieces, top = [], 4.0
    for row, parts in drawn:
        pieces.append(text(LEFT, top + 12, row.name, css="label"))
        begin = 0.0
        for name in names:
            spent = parts.get(name, 0.0)
            left, width = x(begin), x(begin + spent) - x(begin)
            words = f"{name} {number(spent)} ms"
            if width > 0.3:
                css = stage_colour(name, names)
                # A pixel of the ground between two stages tells them apart without a line.
                pieces.append(bar(left, top + 18, max(width - 1, 0.3), 20, css=css, title=words))
            begin += spent
        pieces.append(
            text(x(begin) + 6, top + 33, f"{number(sum(parts.values()))} ms", css="label")
        )
        top += 50
    return drawing(pieces, height=top, title="Mean time per stage")


def means(row: Row) -> dict[str, float]:
    """Mean milliseconds per stage, and what no stage accounts for."""
    parts = {name: float(np.mean(values)) for name, values in row.stages.items() if len(values)}
    if len(row.samples) and row.unit in MS_PER:
        rest = float(np.mean(row.samples)) * MS_PER[row.unit] - sum(parts.values())
        parts[REST] = max(rest, 0.0)
    return parts


def stage_names(rows: Sequence[Row]) -> list[str]:
    """The stages that any row knows, in the order of a click."""
    known = dict.fromkeys(name for row in rows for name in row.stages)
    ordered = [name for name in STAGES if name in known]
    ordered += [name for name in known if name not in STAGES]
    found = [means(row) for row in rows if row.stages]
    rest = any(one.get(REST, 0) > _NO_REST * sum(one.values()) for one in found)
    return [*ordered, REST] if rest else ordered


def stage_colour(name: str, names: Sequence[str]) -> str:
    """The class of a stage: the same in every report for those of a click."""
    if name == REST:
        return "fill rest"
    places = [*STAGES, *(other for other in names if other not in STAGES)]
    return f"fill g{places.index(name) % NUM_STAGE_COLOURS}"


def throughput(rows: Sequence[Row]) -> str:
    """p50 and p99 by answers per second. Rows whose names differ in numbers alone are joined;
    hollow marks: less was answered than was offered."""
    curves = series(rows)
    under_load = [row for joined in curves.values() for row in joined]
    if len({_rate(row) for row in under_load}) < 2:
        return ""
    x = linear([_rate(row) for row in under_load], start=LEFT, end=RIGHT)
    ends = [float(np.quantile(row.samples, q)) for row in under_load for q in (0.5, 0.99)]
    y = logarithmic(ends, start=280, end=28)
    offered = "offered_per_s" in under_load[0].figures
    x_label = "offered per second" if offered else "answered per second"
    parts = [axes(x, y, x_label=x_label, y_label=f"latency, {rows[0].unit}")]
    for place, joined in enumerate(curves.values()):
        for q, css in ((0.5, "line"), (0.99, "line dashed")):
            points = [(x(_rate(row)), y(float(np.quantile(row.samples, q)))) for row in joined]
            kept_up = [_keeps_up(row) for row in joined]
            parts.append(curve(points, css=f"{css} c{place % NUM_COLOURS}"))
            for css_dot, kept in (("dot", True), ("ring", False)):
                marks = [one for one, keeps in zip(points, kept_up, strict=True) if keeps == kept]
                parts.append(_marks(marks, css=f"{css_dot} c{place % NUM_COLOURS}"))
    return drawing(parts, height=320, title="Latency by throughput")


def series(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Rows of one curve, whose names are the same but for numbers. Those that were offered a rate,
    where there are any: a closed loop beside them is another experiment."""
    loaded = [row for row in rows if _rate(row) and _drawable(row)]
    loaded = [row for row in loaded if "offered_per_s" in row.figures] or loaded
    found: dict[str, list[Row]] = {}
    for row in sorted(loaded, key=_rate):
        found.setdefault(re.sub(r"\d+(\.\d+)?", "N", row.name), []).append(row)
    return found


def _drawable(row: Row) -> bool:
    """A logarithm needs values above zero."""
    return len(row.samples) > 0 and min(row.samples) > 0


def _rate(row: Row) -> float:
    return row.figures.get("offered_per_s", row.figures.get("rate_per_s", 0.0))


def _keeps_up(row: Row) -> bool:
    return row.figures.get("rate_per_s", _rate(row)) >= _KEEPS_UP * _rate(row)


def _marks(points: Sequence[Point], *, css: str) -> str:
    if "ring" not in css:
        return dots(points, css=css) if points else ""
    return "".join(f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points)


def _spread(num: int) -> list[int]:
    """Places of sorted values: at most MAX_POINTS, the last hundredth of them whole as a rule."""
    if num <= MAX_POINTS:
        return list(range(num))
    tail = max(num // 100, 20)
    body = np.linspace(0, num - tail, MAX_POINTS - min(tail, 100), endpoint=False)
    ends = np.linspace(num - tail, num - 1, min(tail, 100))
    return sorted({int(place) for place in [*body, *ends]})


def _steps(xs: Sequence[float], ys: Sequence[float], *, floor: float) -> list[Point]:
    """A share rises at its value, not on the way there."""
    points, before = [], floor
    for x, y in zip(xs, ys, strict=True):
        points += [(x, before), (x, y)]
        before = y
    return points


def _extremes(values: NDArray[np.float64]) -> list[int]:
    """Places of at most MAX_POINTS samples, the smallest and the largest of each stretch."""
    stretches = np.array_split(np.arange(len(values)), min(len(values), MAX_POINTS // 2))
    kept = {
        int(i) for one in stretches for i in (one[values[one].argmin()], one[values[one].argmax()])
    }
    return sorted(kept)


def _running(values: NDArray[np.float64], x: Scale, y: Scale) -> Iterator[Point]:
    """Medians of up to 30 stretches of at least 5 samples, each at its middle."""
    num = min(max(len(values) // 5, 1), 30)
    for stretch in np.array_split(np.arange(len(values)), num):
        yield x(float(stretch.mean())), y(float(np.median(values[stretch])))


def _few(ticks: Sequence[float]) -> Sequence[float]:
    """A strip is low."""
    return ticks if len(ticks) <= 4 else ticks[:: len(ticks) // 3]
