"""The data set formats: one file each, found by name. A file of this folder has

    TITLE: str                          for people
    GENERIC: bool                       a way to write files, not one data set: tried last
    CATEGORIES_IN_XSEG: dict[str, str]  its names -> a name or superclass of Table 7, where they
                                        differ; a name that is in neither stays outside the thirty
    def looks_like(root: Path) -> bool              quick, from names of files and folders
    def read(root: Path, log: ProblemLog) -> list[Entry]

`root` is a folder, or a single file where the format has one (COCO).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from apsam_train.data.dataset import ImageDataset
from apsam_train.data.entry import Entry
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError


class Format(Protocol):
    """What a file of this folder offers."""

    TITLE: str
    GENERIC: bool
    CATEGORIES_IN_XSEG: Mapping[str, str]

    def looks_like(self, root: Path) -> bool:
        """Whether `root` has this layout; reads names, and at most the head of one file."""
        ...

    def read(self, root: Path, log: ProblemLog) -> list[Entry]:
        """Every image, in a stable order. Raises DatasetError when nothing can be read at all."""
        ...


def names() -> list[str]:
    """The formats of this release."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Format:
    """The format of that name. Raises DatasetError listing all."""
    if name not in names():
        raise DatasetError(f"format {name!r} is unknown; choose one of {', '.join(names())}")
    return cast(Format, importlib.import_module(f"{__name__}.{name}"))


def recognise(root: Path) -> str:
    """The format of a folder or file. Raises DatasetError when none or several fit."""
    if not root.exists():
        raise DatasetError(f"{root} does not exist; give a data set's folder or a COCO file")
    for generic in (False, True):
        fitting = [n for n in names() if load(n).GENERIC is generic and load(n).looks_like(root)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise DatasetError(
                f"{root} could be {' or '.join(fitting)}; say which with --format NAME"
            )
    raise DatasetError(
        f"{root} is none of the known layouts ({', '.join(names())}); see the layouts in "
        "docs/datasets.md, or name one with --format NAME"
    )


def open_dataset(
    root: Path, *, format: str = "", split: str = "", log: ProblemLog | None = None
) -> ImageDataset:
    """Open a data set, recognised unless `format` names its layout. Raises DatasetError.

    log: takes what is wrong with it; without one, problems are counted nowhere.
    """
    format = format or recognise(root)
    layout = load(format)
    entries = layout.read(root, ProblemLog() if log is None else log)
    if not entries:
        raise DatasetError(f"{root} has no usable image in the layout of {format}")
    dataset = ImageDataset(
        entries, root=root, format=format, categories_in_xseg=layout.CATEGORIES_IN_XSEG
    )
    return dataset.of_split(split) if split else dataset
