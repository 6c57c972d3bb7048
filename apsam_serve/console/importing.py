"""Image files into a project: headers are looked at, bytes are kept as they came."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apsam_serve.console.project import Project
from apsam_serve.console.rows import ImageRow
from apsam_serve.contract.images import MAX_BYTES, MAX_PIXELS, probe
from apsam_serve.errors import InvalidImageError, InvalidInputError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Of what a folder is searched for, in any letter case."""
Progress = Callable[[int, int], None]
"""Called with (files looked at, files there are)."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file that was left out. name: relative to the folder."""

    name: str
    why: str


def add_file(project: Project, name: str, data: bytes) -> ImageRow:
    """Add one image file by its bytes, which are not decoded. Raises InvalidImageError,
    InvalidInputError, ProjectError."""
    _check_size(len(data))
    header = probe(data)
    if header.width * header.height > MAX_PIXELS:
        raise InvalidImageError(
            f"image is {header.width} x {header.height} pixels; send at most {MAX_PIXELS} pixels: "
            "crop it or scale it down"
        )
    return project.add_image(
        name,
        data,
        height=header.height,
        width=header.width,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def import_folder(
    project: Project, folder: Path, progress: Progress, *, root: Path | None = None
) -> list[Refused]:
    """Add every image below a folder, sorted by name, and tell which were left out and why. root:
    the folder that links may not lead out of, None for `folder` itself.

    Images that the project has already are passed over, so an import that was cut off is simply
    repeated. Raises InvalidInputError where there is no such folder, ProjectError.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder on the console's machine; give one")
    files = find_images(folder)
    within = (root or folder).resolve()
    refused = []
    progress(0, len(files))
    for number, file in enumerate(files, start=1):
        name = file.relative_to(folder).as_posix()
        try:
            add_file(project, name, _read(file, within))
        except InvalidInputError as error:
            refused.append(Refused(name=name, why=str(error)))
        progress(number, len(files))
    return refused


def find_images(folder: Path) -> list[Path]:
    """The image files below a folder, sorted, without hidden ones, what other systems' archives
    leave behind ("._name", "__MACOSX"), and linked folders, which may lead in circles."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        found += [
            Path(place, name)
            for name in sorted(files)
            if not name.startswith(".")
            and name.lower().endswith(SUFFIXES)
            # Opening a pipe would wait for ever.
            and Path(place, name).is_file()
        ]
    return found


def _read(link: Path, within: Path) -> bytes:
    """Raises InvalidImageError."""
    file = link.resolve()
    if not file.is_relative_to(within):
        raise InvalidImageError(
            f"{link.name} is a link that leads out of {within}; put the file there itself"
        )
    try:
        _check_size(file.stat().st_size)
        return file.read_bytes()
    except OSError as error:
        raise InvalidImageError(
            f"{link.name} cannot be read ({error.strerror}); see to its permissions"
        ) from error


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise InvalidImageError(
            f"image file has {num_bytes} bytes; give at most {MAX_BYTES}, compressed if need be"
        )
