"""Lists of image names, as data sets state their parts: one name a line, with or without suffix."""

from __future__ import annotations

from pathlib import Path

from apsam_train.data.files import IMAGE_SUFFIXES, read_text


def listed_stems(file: Path) -> list[str]:
    """The first word of every line without an image's suffix; [] when there is no such file."""
    if not file.is_file():
        return []
    return [stem_of(line.split()[0]) for line in read_text(file).splitlines() if line.strip()]


def stem_of(name: str) -> str:
    """An image's name without its folder, and without its suffix if it has one: "a.1" stays."""
    name = name.replace("\\", "/").rpartition("/")[2]
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
