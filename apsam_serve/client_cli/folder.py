"""Which pictures of a folder are complete and have no result yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from apsam_serve.errors import InvalidInputError

PATTERNS = ("*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff")
MASK_SUFFIX, DOCUMENT_SUFFIX, ERROR_SUFFIX = ".mask.png", ".json", ".error.json"


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """Changes when a file is written."""

    num_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file as it was at a poll, and where its results go. They carry the picture's whole name,
    because bag.png and bag.jpg may lie in one folder."""

    path: Path
    stamp: Stamp
    out: Path

    @property
    def mask(self) -> Path:
        """The label map."""
        return self._result(MASK_SUFFIX)

    @property
    def document(self) -> Path:
        """The COCO document; written last, so where it is, all results are."""
        return self._result(DOCUMENT_SUFFIX)

    @property
    def error(self) -> Path:
        """Why there are no results."""
        return self._result(ERROR_SUFFIX)

    def has_result(self) -> bool:
        """Whether a document or an error is there that is newer than the picture."""
        return any(
            (found := _stamp(path)) is not None and found.mtime_ns >= self.stamp.mtime_ns
            for path in (self.document, self.error)
        )

    def _result(self, suffix: str) -> Path:
        return self.out / f"{self.path.name}{suffix}"


class Folder:
    """Polls `folder`, not the folders in it; results go to `out`. Hidden files and results are no
    pictures. Raises InvalidInputError for a folder that is not there."""

    def __init__(self, folder: Path, *, out: Path, patterns: Sequence[str] = PATTERNS) -> None:
        if not folder.is_dir():
            raise InvalidInputError(f"{folder} is no folder; give one that is there")
        self._folder = folder
        self._out = out
        self._patterns = [pattern.lower() for pattern in patterns]
        self._seen: dict[Path, Stamp] = {}
        self._done: dict[Path, Stamp] = {}

    @property
    def waiting(self) -> set[Path]:
        """Pictures of the last poll that are not done."""
        return {path for path, stamp in self._seen.items() if self._done.get(path) != stamp}

    def poll(self) -> list[Picture]:
        """Pictures that are not done and have not changed since the last poll, oldest first."""
        found = self._pictures()
        for one in found:
            if one.path not in self._done and one.has_result():
                self._done[one.path] = one.stamp
        complete = [
            one
            for one in found
            if self._seen.get(one.path) == one.stamp and self._done.get(one.path) != one.stamp
        ]
        self._seen = {one.path: one.stamp for one in found}
        self._done = {path: stamp for path, stamp in self._done.items() if path in self._seen}
        return complete

    def done(self, picture: Picture) -> None:
        """It has its results, as it was when it was polled."""
        self._done[picture.path] = picture.stamp

    def _pictures(self) -> list[Picture]:
        try:
            entries = [*os.scandir(self._folder)]
        except OSError as error:
            raise InvalidInputError(
                f"{self._folder} cannot be read ({error.strerror}); give a readable folder"
            ) from error
        found = [
            Picture(path=Path(entry.path), stamp=stamp, out=self._out)
            for entry in entries
            if self._matches(entry.name)
            and entry.is_file()
            and (stamp := _stamp(Path(entry.path))) is not None
        ]
        return sorted(found, key=lambda one: (one.stamp.mtime_ns, one.path.name))

    def _matches(self, name: str) -> bool:
        name = name.lower()
        if name.startswith(".") or name.endswith((MASK_SUFFIX, DOCUMENT_SUFFIX)):
            return False
        return any(fnmatch(name, pattern) for pattern in self._patterns)


def _stamp(path: Path) -> Stamp | None:
    """None for a file that is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(num_bytes=found.st_size, mtime_ns=found.st_mtime_ns)
