"""One image of a data set before its pixels are read: what a format's file has to produce."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsam_serve.contract.prompts import Box
from apsam_train.data.problems import ProblemKind


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """One object as its annotation states it, in image pixels; the most exact form given counts.

    segmentation: COCO's forms, a list of polygons [[x, y, x, y, ...], ...] or an RLE dictionary;
    mask_file: an image whose pixels of `mask_value` (None: all that are not 0) are the object;
    box: nothing but a box.
    """

    category: str
    segmentation: Any = None
    mask_file: Path | None = None
    mask_value: int | None = None
    box: Box | None = None
    overlap: float | None = None


Report = Callable[[ProblemKind, str], None]
"""report(kind, detail): tells of a problem of the entry that is being read."""

ReadShapes = Callable[[Report], Iterable[Shape]]
"""Reads an entry's objects when its sample is read. Raises DatasetError when the annotation as a
whole is unusable. Must be picklable: `functools.partial` of a module's function."""


def given(shapes: tuple[Shape, ...], _report: Report) -> tuple[Shape, ...]:
    """For `partial(given, shapes)`: shapes that are known when the data set is opened."""
    return shapes


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """name: unique in the data set, usually the path below its root; size: (height, width) that the
    annotation claims, None where it says nothing; split, bag: see `Sample`, "" for a bag of one."""

    name: str
    image: Path
    read_shapes: ReadShapes
    size: tuple[int, int] | None = None
    split: str = ""
    bag: str = ""
