"""Finding the files of a data set, and reading its annotation files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apsam_train.errors import DatasetError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def walk(root: Path) -> Iterator[Path]:
    """Every file below `root`, sorted, without what archives of other systems leave behind
    ("._name" of macOS, "__MACOSX", "Thumbs.db") and without hidden files."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for name in sorted(files):
            if not name.startswith(".") and name != "Thumbs.db":
                yield Path(folder, name)


def is_image(file: Path) -> bool:
    """Whether the name is that of an image we can read."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def images_by_stem(folder: Path) -> dict[str, Path]:
    """stem -> image of one folder (not below it); {} when there is no such folder. Annotations and
    images often disagree about the suffix (.jpg, .png, .TIFF), so the stem is the key."""
    if not folder.is_dir():
        return {}
    found = sorted(f for f in folder.iterdir() if is_image(f) and not f.name.startswith("."))
    return {file.stem: file for file in found}


def subfolder(root: Path, *names: str) -> Path | None:
    """The first of `names` that is a folder in `root`, or in the only folder of `root`: archives
    often hold the data set's folder twice (pidray/pidray)."""
    nested = [f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith((".", "_"))]
    places = [root, *(nested if len(nested) == 1 else ())]
    candidates = [place / name for place in places for name in names]
    return next((folder for folder in candidates if folder.is_dir()), None)


def read_text(file: Path) -> str:
    """A text file; bytes that are not UTF-8 are replaced. Raises DatasetError."""
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror})") from error


def read_json(file: Path) -> Any:
    """A JSON file. Raises DatasetError."""
    try:
        return json.loads(read_text(file))
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON ({error})") from error
