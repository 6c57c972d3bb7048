"""What tells the layouts of data sets apart, without reading them."""

from __future__ import annotations

import mmap
import os
import re
from itertools import islice
from pathlib import Path

_NUM_GLIMPSED = 2000
"""Names of a folder that are looked at: a folder can hold a million, in no order."""
_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|set|id|idation)?(?![a-z])")


def homes(root: Path) -> list[Path]:
    """`root`, and the only folder in it: archives often hold the data set's folder twice. [] for a
    file."""
    if not root.is_dir():
        return []
    inner = subfolders(root)
    return [root, *inner] if len(inner) == 1 else [root]


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted, without hidden ones; [] when there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    return [folder / name for name in names if not name.startswith((".", "__"))]


def glimpse(folder: Path, *suffixes: str) -> list[Path]:
    """Some files of `folder` with one of the suffixes (lower case), sorted: for recognising."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, _NUM_GLIMPSED)]
    return [folder / n for n in sorted(names) if n.lower().endswith(suffixes) and n[0] != "."]


def mentions(file: Path, *words: str) -> bool:
    """Whether all words stand somewhere in a file of any size."""
    try:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return all(m.find(word.encode()) >= 0 for word in words)
    except (OSError, ValueError):  # ValueError: the file is empty
        return False


def split_of(name: str) -> str:
    """The split that a file or folder is named after: "train", "val", "test", or "" for none."""
    found = _SPLIT.search(name.lower())
    return found[1] if found else ""


def is_split(name: str) -> bool:
    """Whether a folder's name says its split and nothing else."""
    return _SPLIT.fullmatch(name.lower()) is not None
