"""What a benchmark measured: the JSON document that every benchmark ends with."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.card import ROOT, describe, environment
from bench.measure.distribution import Distribution
from bench.measure.table import markdown

SCHEMA = "apsam-bench/1"
MOST_SAMPLES = 2000
"""Samples written per row; distributions are of all."""


@dataclass(frozen=True, kw_only=True)
class MaskIou:
    """Of a row's masks with those of the FP32 reference."""

    num: int
    minimum: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> MaskIou:
        """Raises ValueError when there are no values."""
        if len(values) == 0:
            raise ValueError("0 masks were compared; compare at least one")
        return cls(num=len(values), minimum=float(min(values)), mean=float(np.mean(values)))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing measured. samples: in order of time, in `unit`; stages: ms per stage, same order;
    errors: by the name of the gRPC code; figures: anything else, with the unit in the key."""

    name: str
    group: str = ""
    unit: str = "ms"
    samples: Sequence[float]
    mask_iou: MaskIou | None = None
    stages: Mapping[str, Sequence[float]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """With the distributions of all samples, and some of the samples."""
        return {
            "name": self.name,
            "group": self.group,
            "unit": self.unit,
            "distribution": _distribution(self.samples),
            "mask_iou": None if self.mask_iou is None else asdict(self.mask_iou),
            "stages": {
                name: {"distribution": _distribution(values), "samples": _thinned(values)}
                for name, values in self.stages.items()
            },
            "errors": dict(self.errors),
            "figures": dict(self.figures),
            "note": self.note,
            "samples": _thinned(self.samples),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """A row as it was written; of many samples, those that were kept."""
        iou = data["mask_iou"]
        return cls(
            name=data["name"],
            group=data["group"],
            unit=data["unit"],
            samples=data["samples"],
            mask_iou=None if iou is None else MaskIou(**iou),
            stages={name: stage["samples"] for name, stage in data["stages"].items()},
            errors=data["errors"],
            figures=data["figures"],
            note=data["note"],
        )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a goal is held against; low, high: its 95 % confidence interval. refused: why it was
    measured and is not compared; its value is 0 then, and says nothing."""

    key: str
    value: float
    low: float | None = None
    high: float | None = None
    detail: str = ""
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Everything of one run of one benchmark. settings: the options that shaped it."""

    benchmark: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    figures: Sequence[Figure] = ()
    card: Mapping[str, Any] = field(default_factory=environment)
    command: str = field(default_factory=lambda: _command())

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json`."""
        return {
            "schema": SCHEMA,
            "benchmark": self.benchmark,
            "command": self.command,
            "settings": _plain(self.settings),
            "card": _plain(self.card),
            "figures": [asdict(one) for one in self.figures],
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Document:
        """Raises ValueError for what is no document of this schema."""
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(
                f"schema is {found!r}: expected {SCHEMA!r}; give what a benchmark's --json wrote"
            )
        known = {one.name for one in fields(Figure)}
        try:
            return cls(
                benchmark=data["benchmark"],
                settings=data["settings"],
                rows=[Row.from_json(row) for row in data["rows"]],
                figures=[
                    Figure(**{k: v for k, v in one.items() if k in known})
                    for one in data["figures"]
                ],
                card=data["card"],
                command=data["command"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the document lacks {error}: expected all fields of {SCHEMA!r}; measure again"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Document:
        """A document that --json wrote. Raises ValueError, or OSError."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); give what --json wrote") from error
        return cls.from_json(data)


def publish(document: Document, *, json_path: Path | None = None) -> None:
    """Print the machine, the tables and, as the last line, the JSON, which goes to a file too."""
    text = json.dumps(document.to_json(), allow_nan=False)
    print(describe(dict(document.card)))
    print(f"\n{markdown(document)}\n")
    print(text, flush=True)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(document.to_json(), indent=1) + "\n", "utf-8")


def _command() -> str:
    """The running program as a person would type it."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    program = Path(sys.argv[0]).resolve()
    if program.suffix == ".py" and program.is_relative_to(ROOT):
        return shlex.join(["python", str(program.relative_to(ROOT)), *sys.argv[1:]])
    return shlex.join([program.name, *sys.argv[1:]])


def _distribution(values: Sequence[float]) -> dict[str, float] | None:
    return asdict(Distribution.of(values)) if len(values) else None


def _thinned(values: Sequence[float]) -> list[float]:
    """At most MOST_SAMPLES, evenly in time, to four digits."""
    num = len(values)
    chosen = np.linspace(0, num - 1, min(num, MOST_SAMPLES)).round().astype(int)
    return [float(f"{values[int(i)]:.4g}") for i in chosen]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
