"""Which model proposed, told by a digest."""

from __future__ import annotations

from pathlib import Path

from apsam_serve.contract.manifest import MANIFEST_NAME
from apsam_train.files import sha256_of


def model_sha256(target: str) -> str | None:
    """Digest of a checkpoint, or of a bundle's manifest, which holds those of its files; None for a
    server."""
    path = Path(target)
    file = path / MANIFEST_NAME if path.is_dir() else path
    return sha256_of(file) if file.is_file() else None
