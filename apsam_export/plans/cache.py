"""Compiled plans that are used again: a folder of entries, each named by its key and its content.

An entry is written beside its place and moved there, so that exports that run at the same time see
it whole or not at all; one whose content does not match its name is thrown away.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_export.errors import PlanError


def default_folder() -> Path:
    """Of the user who exports: `apsam/plans` in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "apsam" / "plans"


def key_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a plan depends on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class PlanCache:
    """Entries of one folder, which is created. Raises PlanError where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def load(self, key: str) -> bytes | None:
        """The entry, None where there is none that is sound."""
        for file in self._entries(key):
            try:
                data = file.read_bytes()
            except FileNotFoundError:  # another export has replaced it
                continue
            if file == self._place(key, data):
                return data
            file.unlink(missing_ok=True)
        return None

    def store(self, key: str, data: bytes) -> None:
        """Make `data` the only entry of that key. Raises PlanError."""
        place = self._place(key, data)
        try:
            handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(data)
                os.replace(partial, place)
            finally:
                Path(partial).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        for file in self._entries(key):
            if file != place:
                file.unlink(missing_ok=True)

    def _entries(self, key: str) -> list[Path]:
        return sorted(self.folder.glob(f"{key}-*"))

    def _place(self, key: str, data: bytes) -> Path:
        return self.folder / f"{key}-{hashlib.sha256(data).hexdigest()}"

    def _unwritable(self, error: OSError) -> PlanError:
        return PlanError(
            f"plans cannot be kept in {self.folder} ({error.strerror}); give another folder "
            "with --plan-cache, or make room"
        )
