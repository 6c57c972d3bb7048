"""How images come into the result: linked, copied, or left where they are."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from apsam_train.curate.record import Record
from apsam_train.data.files import IMAGE_SUFFIXES
from apsam_train.errors import ConfigError, DatasetError

LINKS = ("hard", "copy", "none")
_NO_HARD_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


class ImagePlacer:
    """Places images below OUT/images/<source>/. link: of `LINKS`; "hard" copies where the file
    system cannot link, and `counts` tells how often.

    Hard links are the source's own files under a second name: whoever edits one edits both.
    """

    def __init__(self, out: Path, *, link: str) -> None:
        if link not in LINKS:
            raise ConfigError(f"--link is {link!r}: expected one of {', '.join(LINKS)}")
        self._out = out
        self._link = link
        self._taken: set[str] = set()
        self.counts: Counter[str] = Counter()

    def place(self, record: Record) -> str:
        """Place an image; returns its name in the COCO file. Raises DatasetError."""
        if self._link == "none":
            self.counts["left in place"] += 1
            image = Path(record.image)
            image = image.parent.resolve() / image.name
            return os.path.relpath(image, self._out.resolve() / "annotations")
        name = self._free(_file_name(record))
        target = self._out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # What an interrupted run placed; the file may have been one of another option.
            target.unlink(missing_ok=True)
            self.counts[_put(Path(record.image), target, self._link)] += 1
        except OSError as error:
            raise DatasetError(
                f"{record.image} cannot be placed as {target} ({error.strerror}); free space, or "
                "leave the images where they are with --link none"
            ) from error
        return name

    def _free(self, name: PurePosixPath) -> str:
        """Two names may become one when what leads out of a folder is cut from them."""
        number, found = 1, name
        while str(found) in self._taken:
            number += 1
            found = name.with_stem(f"{name.stem}-{number}")
        self._taken.add(str(found))
        return str(found)


def _put(image: Path, target: Path, link: str) -> str:
    if link == "hard":
        try:
            os.link(image.resolve(), target)
            return "hard links"
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
    shutil.copyfile(image, target)
    return "copies"


def _file_name(record: Record) -> PurePosixPath:
    """images/<source>/<name>, with a suffix that readers know."""
    parts = [part for part in PurePosixPath(record.name).parts if part not in ("/", "..", ".")]
    name = PurePosixPath("images", record.source, *parts)
    if name.suffix.lower() not in IMAGE_SUFFIXES:
        name = name.with_name(name.name + Path(record.image).suffix)
    return name
