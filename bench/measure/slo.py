"""What a run must hold to: `--slo p99=50ms --slo "click:p50=2.5ms" --slo errors=0`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measure.distribution import Distribution
from bench.measure.document import Document, Row

MS_PER = {"us": 0.001, "ms": 1.0, "s": 1000.0}
"""Units of time, in milliseconds."""
QUANTITIES = {
    "mean": "mean", "p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p99_9", "max": "max",
}  # fmt: skip
"""What may stand left of =, and the field of `Distribution` it is."""
PEERS, WARM_UP = "in turns", "warm-up"
"""How groups begin that an SLO is about only where it names them."""
_LIMIT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)")
_EXAMPLES = "p99=50ms, max=1s, errors=0, or click:p99=50ms for the rows whose group or name begins"
_EXAMPLES += " with click"


@dataclass(frozen=True, kw_only=True)
class Slo:
    """A limit that no row may exceed. limit: milliseconds, or a count of errors; rows: how a row's
    group or name begins, empty for every row but the groups of peers and of warm-ups."""

    quantity: str
    limit: float
    rows: str = ""
    text: str

    def matches(self, row: Row) -> bool:
        """Whether it is about this row."""
        if self.rows and row.group.startswith(self.rows):
            return True
        errors = self.quantity == "errors"  # which a warm-up must not have either
        aside = row.group.startswith(PEERS if errors else (PEERS, WARM_UP))
        return not aside and row.name.startswith(self.rows)


def parse(text: str) -> Slo:
    """Read `[ROWS:]QUANTITY=LIMIT`. Raises ValueError that says what was expected."""
    left, equals, right = text.rpartition("=")
    rows, _, quantity = left.rpartition(":")
    rows, quantity, right = rows.strip(), quantity.strip(), right.strip().lower()
    if not equals:
        raise ValueError(f"SLO {text!r} has no limit; write it like {_EXAMPLES}")
    if quantity != "errors" and quantity not in QUANTITIES:
        raise ValueError(
            f"SLO {text!r} is about {quantity!r}, expected one of {', '.join(QUANTITIES)} and "
            f"errors; write it like {_EXAMPLES}"
        )
    found = _LIMIT.fullmatch(right)
    if quantity == "errors":
        if not right.isdecimal():
            raise ValueError(
                f"SLO {text!r} allows {right!r} errors, expected a whole number; write errors=0"
            )
        return Slo(quantity=quantity, limit=int(right), rows=rows, text=text)
    if found is None or found[2] not in MS_PER:
        raise ValueError(
            f"SLO {text!r} has the limit {right!r}, expected a time with its unit "
            f"({', '.join(MS_PER)}); write it like {_EXAMPLES}"
        )
    return Slo(quantity=quantity, limit=float(found[1]) * MS_PER[found[2]], rows=rows, text=text)


def check(slos: Iterable[Slo], document: Document) -> list[str]:
    """One sentence per violation, with the value seen; none when everything holds.

    An SLO that no row can answer is violated: a misspelt one must not pass.
    """
    return [sentence for slo in slos for sentence in _violations(slo, document.rows)]


def _violations(slo: Slo, rows: Sequence[Row]) -> list[str]:
    # A row without answers and errors was not run, like a peer that cannot be had here.
    chosen = [row for row in rows if slo.matches(row) and (len(row.samples) or row.errors)]
    if slo.quantity != "errors":
        chosen = [row for row in chosen if row.unit in MS_PER]
    if not chosen:
        known = ", ".join(sorted({repr(row.group or row.name) for row in rows})) or "none"
        about = f"row that begins with {slo.rows!r}" if slo.rows else "row"
        return [f"{slo.text}: no {about} measures that; the run has the rows {known}"]
    return [sentence for row in chosen if (sentence := _violation(slo, row))]


def _violation(slo: Slo, row: Row) -> str:
    """Empty when the row holds to it."""
    name = f"{row.group}: {row.name}" if row.group else row.name
    errors = sum(row.errors.values())
    if slo.quantity == "errors":
        codes = ", ".join(f"{count} {code}" for code, count in row.errors.items() if count)
        return f"{slo.text}: {name} had {errors} errors ({codes})" if errors > slo.limit else ""
    if not len(row.samples):
        return f"{slo.text}: {name} has no answers to judge, {errors} errors"
    seen: float = getattr(Distribution.of(row.samples), QUANTITIES[slo.quantity])
    if seen * MS_PER[row.unit] <= slo.limit:
        return ""
    return f"{slo.text}: {name} took {seen:.4g} {row.unit} ({slo.quantity} of {len(row.samples)})"
