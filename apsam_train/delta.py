"""Deltas: checkpoints without SAM's own weights, which name the SAM file they belong to.

With SAM frozen only adapters, energy parts and category head differ from run to run: 48 MB instead
of 1.3 GB for ViT-L. A card's `base` is {"file": name, "sha256": of the whole file}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM
from apsam_train.sam_weights import file_sha256, is_sam, load_sam_weights

Base = Mapping[str, str]


def base_of(path: Path, sha256: str) -> Base:
    """What a card says of the SAM file at `path`; sha256 as `load_sam` returned it."""
    return {"file": path.name, "sha256": sha256}


def load_base(checkpoint: Path, base: Base, model: APSAM, *, sam: Path | None) -> None:
    """Load SAM's weights for a delta from `sam`, or from a file of the base's name beside it.

    They are frozen, as in the run that wrote the delta. Raises CheckpointError.
    """
    path = checkpoint.with_name(base["file"]) if sam is None else sam
    if not path.is_file():
        where = f"{path} is not there" if sam else f"no {base['file']} lies beside it"
        raise CheckpointError(
            f"{checkpoint} is a delta on {_short(base)}, and {where}; give that file with "
            "--sam FILE, or make one whole file with `apsam-train merge`"
        )
    _check_same(checkpoint, base, base_of(path, file_sha256(path)))
    load_sam_weights(path, model)
    for name, parameter in model.named_parameters():
        if is_sam(name):
            parameter.requires_grad_(False)


def check_base(checkpoint: Path, base: Base | None, *, loaded: Base | None) -> None:
    """Refuse to resume on other SAM weights than the checkpoint's. Raises CheckpointError."""
    if base is None and loaded is not None:
        raise needs_no_base(checkpoint, loaded["file"])
    if base is not None and loaded is None:
        raise CheckpointError(
            f"{checkpoint} is a delta on {_short(base)}; resume with --sam {base['file']}"
        )
    if base is not None and loaded is not None:
        _check_same(checkpoint, base, loaded)


def needs_no_base(checkpoint: Path, file: str) -> CheckpointError:
    """The error for a whole checkpoint that a SAM file was given for."""
    return CheckpointError(
        f"{checkpoint} is a whole checkpoint and brings its own weights of SAM, but {file} was "
        "given for it; leave out --sam"
    )


def check_frozen(path: Path, model: APSAM) -> None:
    """Refuse to leave weights out of a file while they train. Raises CheckpointError."""
    moving = [name for name, p in model.named_parameters() if is_sam(name) and p.requires_grad]
    if moving:
        raise CheckpointError(
            f"{path} cannot be a delta: {len(moving)} of SAM's own tensors train ({moving[0]}, "
            "...); freeze SAM or write a whole file, with no base on its card"
        )


def _check_same(checkpoint: Path, expected: Base, found: Base) -> None:
    if found["sha256"] != expected["sha256"]:
        raise CheckpointError(
            f"{checkpoint} is a delta on {_short(expected)}, but {_short(found)} is another file; "
            "give the one it was trained on with --sam FILE"
        )


def _short(base: Base) -> str:
    return f"{base['file']} (SHA-256 {base['sha256'][:12]})"
