"""Summary tables for people: drawn on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?%| MB)?|nan|-|", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under named columns; columns of numbers are set to the right. notes: lines
    below."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """As plain text, two spaces between columns."""
        rows = [tuple(self.columns), *self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        right = self._right()
        lines = [
            "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*([self.title] if self.title else []), *lines, *self.notes])

    def _cells(self) -> Iterator[tuple[str, ...]]:
        return (tuple(map(str, row)) for row in self.rows)

    def _right(self) -> list[bool]:
        """Whether a column holds nothing but numbers, by column."""
        columns = zip(*self._cells(), strict=True) if self.rows else ((),) * len(self.columns)
        return [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]

    def draw(self) -> None:
        """Draw it on the terminal that standard output is. Needs rich."""
        from rich import box, table
        from rich.console import Console
        from rich.text import Text

        drawn = table.Table(title=self.title or None, title_justify="left", box=box.SIMPLE_HEAD)
        for name, to_right in zip(self.columns, self._right(), strict=True):
            drawn.add_column(Text(name), justify="right" if to_right else "left")
        for row in self._cells():
            drawn.add_row(*map(Text, row))
        Console().print(drawn)
        for note in self.notes:
            print(note)


def show(parts: Iterable[str | Table]) -> None:
    """Print lines and tables to standard output; empty lines are left out."""
    drawn = sys.stdout.isatty() and importlib.util.find_spec("rich") is not None
    for part in parts:
        if isinstance(part, Table) and drawn:
            part.draw()
        elif str(part):
            print(part)
