"""The data sets that go in: `PATH` or `name=PATH`, opened, and known again when they change."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsam_train.curate.filters.split import subset_of
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.files import walk
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One data set. digest: changes with the name, size or time of any of its files."""

    name: str
    dataset: ImageDataset
    digest: str

    def to_json(self) -> dict[str, Any]:
        """What tells one source from another."""
        return {
            "name": self.name,
            "path": str(self.dataset.root.resolve()),
            "format": self.dataset.format,
            "num_images": len(self.dataset),
            "digest": self.digest,
        }


def open_sources(
    texts: Sequence[str], *, formats: Sequence[str], resplit: Sequence[str], log: ProblemLog
) -> list[Source]:
    """Open every source, in order. formats: `name=FORMAT` where a layout is not recognised.

    Raises ConfigError for names that are wrong, unknown or given twice, and for a split of a data
    set that is neither train, val nor test; DatasetError for what cannot be opened.
    """
    places = _named(texts)
    layouts = dict(_pair(text, "--format") for text in formats)
    for option, names in (("--format", list(layouts)), ("--resplit", list(resplit))):
        unknown = [name for name in names if name not in places]
        if unknown:
            raise ConfigError(
                f"{option} names the source {unknown[0]!r}; expected one of {', '.join(places)}"
            )
    sources = []
    for name, root in places.items():
        dataset = open_dataset(root, format=layouts.get(name, ""), log=log)
        foreign = [split for split in dataset.splits if split and not subset_of(split)]
        if foreign and name not in resplit:
            raise ConfigError(
                f"source {name} has a split {foreign[0]!r}; expected names that begin with train, "
                f"val or test. Rename it, or give --resplit {name} to divide the source anew"
            )
        sources.append(Source(name=name, dataset=dataset, digest=_digest(dataset)))
    return sources


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """Sources by name, in order; a name that was not given is the folder's, made unique."""
    given = [_pair(text, "source") for text in texts if _is_named(text)]
    names = [name for name, _ in given]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"source {twice[0]!r} is given twice; give each its own name=PATH")
    places: dict[str, Path] = {}
    for text in texts:
        if _is_named(text):
            name, path = _pair(text, "source")
        else:
            path, name = text, _free_name(Path(text), {*names, *places})
        places[name] = Path(path)
    return places


def _is_named(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {text!r}: expected name=VALUE, the name of letters, digits, '.', '_' and '-'"
        )
    return name, value


def _free_name(path: Path, taken: set[str]) -> str:
    resolved = path.resolve()
    base = re.sub(r"[^A-Za-z0-9._-]+", "_", resolved.stem if path.is_file() else resolved.name)
    base = base.lstrip("._-") or "source"
    candidates = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)


def _digest(dataset: ImageDataset) -> str:
    root = dataset.root
    files = {entry.image for entry in dataset.entries}
    files.update(walk(root) if root.is_dir() else [root])
    total = hashlib.sha256()
    for file in sorted(files):
        # A link that leads nowhere is a problem that measuring will name.
        state = os.stat(file, follow_symlinks=file.exists())
        total.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return total.hexdigest()
