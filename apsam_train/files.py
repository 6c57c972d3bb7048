"""Files that appear whole or not at all, and the digest that a file is known by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield a path beside `file` to write to; it becomes `file` when the block succeeds, so that a
    killed run leaves the old file or the new one."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(file) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
