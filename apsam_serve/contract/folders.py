"""Folders that appear whole or not at all: bundles and data sets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apsam_serve.errors import OutputExistsError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block succeeds, and vanishes otherwise.

    Raises OutputExistsError when `target` is there already and is not an empty folder.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target} exists already; choose another folder or remove it first"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    name = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    partial = Path(name)
    try:
        yield partial
        # mkdtemp is private to its owner; what people share has ordinary permissions.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
