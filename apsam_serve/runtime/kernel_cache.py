"""What TensorRT-RTX compiles for a GPU at run time, kept from one start to the next.

TensorRT has nothing like it: its plans hold machine code already.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger("apsam_serve.runtime")
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_file(folder: Path, facts: Mapping[str, str]) -> Path:
    """Where to keep the kernels of one plan. facts: all that they depend on, the plan's SHA-256,
    the library's version, name and capability of the GPU."""
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return folder / f"{key}.kernels"


class KernelCache:
    """The library's cache of one plan, and the file that it comes from and goes to: the SHA-256 of
    its bytes, then the bytes. file: None keeps it in memory. A file that cannot be read, written or
    used costs time only; it is reported as a warning."""

    def __init__(self, config: Any, file: Path | None) -> None:
        self._file = file
        self._kept = b""
        self._cache = config.create_runtime_cache()
        if file is not None:
            self._load(file)
        if not config.set_runtime_cache(self._cache):
            _log.warning("TensorRT-RTX refuses a runtime cache; kernels are compiled at each start")

    def keep(self) -> None:
        """Write the file, whole or not at all, if anything was compiled since it was read."""
        compiled = self._cache.serialize() if self._file is not None else None
        if self._file is None or compiled is None:
            return
        data = bytes(compiled)
        if data == self._kept:
            return
        try:
            _write(self._file, hashlib.sha256(data).digest() + data)
        except OSError as error:
            _log.warning(
                "kernels cannot be kept in %s (%s); the next start compiles them again",
                self._file,
                error.strerror,
            )
        self._kept = data

    def _load(self, file: Path) -> None:
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s cannot be read (%s); its kernels are compiled", file, error.strerror)
            return
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest or not self._cache.deserialize(data):
            _log.warning("%s is damaged or of another driver; its kernels are compiled", file)
            return
        self._kept = data


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(partial, file)
    finally:
        Path(partial).unlink(missing_ok=True)
