"""SHA-256 of files: which model proposed, which image it was, which correction came back."""

from __future__ import annotations

import hashlib
from pathlib import Path

from apsam_serve.contract.manifest import MANIFEST_NAME


def sha256_of(file: Path) -> str:
    """Hex digest of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def model_sha256(target: str) -> str | None:
    """Digest of a checkpoint, or of a bundle's manifest, which holds those of its files; None for a
    server."""
    path = Path(target)
    file = path / MANIFEST_NAME if path.is_dir() else path
    return sha256_of(file) if file.is_file() else None
