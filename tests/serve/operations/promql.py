"""Which metrics and labels a PromQL expression names. Enough of the language for our dashboard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SELECTOR = re.compile(r"\b((?:apsam|process)_\w+)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """`label operator "value"`; values: the alternatives of a pattern."""

    label: str
    operator: str
    values: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Selector:
    """A metric with its matchers."""

    metric: str
    matchers: Sequence[Matcher]


def selectors(expression: str) -> list[Selector]:
    """Every metric that an expression reads."""
    return [
        Selector(
            metric=metric,
            matchers=[
                Matcher(label=label, operator=operator, values=value.split("|"))
                for label, operator, value in _MATCHER.findall(inside)
            ],
        )
        for metric, inside in _SELECTOR.findall(expression)
    ]


def grouping_labels(expression: str) -> set[str]:
    """Every label that an expression groups or joins by."""
    groups = _GROUPING.findall(expression)
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}
