"""What can be scored: whatever a package offers under the entry point group `apsam.segmenters`.

Training never imports serving; a bundle or a server is opened by the function its package
registered, a checkpoint by ours.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from apsam_serve.contract.manifest import MANIFEST_NAME
from apsam_serve.contract.segmenter import Segmenter
from apsam_train.errors import ConfigError
from apsam_train.evaluate.flood_fill import FloodFill

GROUP = "apsam.segmenters"


def kind_of(target: str) -> str:
    """bundle for a bundle folder, checkpoint for a .safetensors or SAM's .pth file, server for
    HOST:PORT, floodfill for the baseline of that name. Raises ConfigError."""
    path = Path(target)
    if (path / MANIFEST_NAME).is_file():
        return "bundle"
    if path.suffix in (".safetensors", ".pth"):
        return "checkpoint"
    if target == "floodfill":
        return "floodfill"
    if not path.exists() and target.rpartition(":")[2].isdigit():
        return "server"
    raise ConfigError(
        f"{target} is neither a bundle folder, a .safetensors checkpoint, SAM's .pth file, "
        "HOST:PORT nor floodfill; give one of these"
    )


def open_segmenter(target: str, *, sam: Path | None = None) -> Segmenter:
    """Open a target for scoring; sam: the SAM file of a checkpoint that is a delta. Raises
    ConfigError, CheckpointError, BundleError or what the server answers."""
    kind = kind_of(target)
    if kind == "floodfill":
        return FloodFill()
    (entry,) = entry_points(group=GROUP, name=kind) or (None,)
    if entry is None:
        raise ConfigError(f"nothing installed opens a {kind}; install apsam with `make setup`")
    open_it = entry.load()
    opened = open_it(target, sam=sam) if kind == "checkpoint" and sam else open_it(target)
    return cast(Segmenter, opened)
