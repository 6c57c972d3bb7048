"""Plots as inline SVG: scales, axes and marks. Colours are classes, which the page's style fills.

Coordinates are pixels of a drawing WIDTH wide, rounded to a tenth; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
NUM_COLOURS, NUM_STAGE_COLOURS = 8, 10
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values low to high onto pixels start to end. log: both values are above zero."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies; outside the scale it lies on its edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values on the scale, 3 to about 8 of them."""
        if self.log:
            tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                ticks = [digit * 10.0**ten for ten in tens for digit in digits]
                ticks = [tick for tick in ticks if self.low <= tick <= self.high]
                if len(ticks) >= 4:
                    return ticks
            if len(ticks) >= 3:
                return ticks
        return _round_steps(self.low, self.high)


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    ten: float = 10 ** math.floor(math.log10(rough))
    step = next(digit * ten for digit in (1, 2, 2.5, 5, 10) if digit * ten >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def linear(values: Iterable[float], *, start: float, end: float) -> Scale:
    """From zero to a little above the largest value."""
    return Scale(low=0, high=max(values, default=0) * 1.05 or 1, start=start, end=end)


def logarithmic(values: Iterable[float], *, start: float, end: float, around: float = 1.1) -> Scale:
    """All values above zero, and a factor of `around` to both sides."""
    seen = [value for value in values if value > 0] or [1]
    low, high = min(seen) / around, max(seen) * around
    return Scale(low=low, high=high, start=start, end=end, log=True)


def axes(x: Scale, y: Scale, *, x_label: str, y_label: str, percent: bool = False) -> str:
    """Grid lines with their values and both labels; y runs upwards. percent: y is a share."""
    left, right, bottom, top = x.start, x.end, y.start, y.end
    parts = []
    for tick in y.ticks():
        words = f"{tick:.0%}" if percent else f"{tick:,g}"
        parts.append(line(left, y(tick), right, y(tick), css="grid"))
        parts.append(text(left - 6, y(tick) + 4, words, anchor="end"))
    for tick in x.ticks():
        parts.append(line(x(tick), bottom, x(tick), top, css="grid"))
        parts.append(text(x(tick), bottom + 16, f"{tick:,g}", anchor="middle"))
    parts.append(line(left, bottom, right, bottom, css="axis"))
    parts.append(text(right, bottom + 33, x_label, anchor="end", css="label"))
    parts.append(text(left - 6, top - 9, y_label, css="label"))
    return "".join(parts)


def text(x: float, y: float, words: str, *, anchor: str = "start", css: str = "tick") -> str:
    """One line of text at its base line."""
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, css: str) -> str:
    """A straight line."""
    return f'<path class="{css}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def curve(points: Sequence[Point], *, css: str) -> str:
    """A line through points."""
    return f'<path class="{css}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def dots(points: Iterable[Point], *, css: str) -> str:
    """Round marks, all of them one path: lines of no length with round ends."""
    return f'<path class="{css}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)}"/>'


def bar(x: float, y: float, width: float, height: float, *, css: str, title: str) -> str:
    """A filled rectangle that says what it is under the pointer."""
    return (
        f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{escape(title)}</title></rect>"
    )


def drawing(parts: Iterable[str], *, height: float, title: str) -> str:
    """The whole picture; title: what it shows, for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
