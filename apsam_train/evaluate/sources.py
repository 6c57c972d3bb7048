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

GROUP = "apsam.segmenters"


def kind_of(target: str) -> str:
    """bundle for a bundle folder, checkpoint for a safetensors file, server for HOST:PORT."""
    path = Path(target)
    if (path / MANIFEST_NAME).is_file():
        return "bundle"
    if path.suffix == ".safetensors":
        return "checkpoint"
    if not path.exists() and target.rpartition(":")[2].isdigit():
        return "server"
    raise ConfigError(
        f"{target} is neither a bundle folder, a .safetensors checkpoint nor HOST:PORT; "
        "give one of these"
    )


def open_segmenter(target: str) -> Segmenter:
    """Open a checkpoint, bundle or server for scoring."""
    kind = kind_of(target)
    (entry,) = entry_points(group=GROUP, name=kind) or (None,)
    if entry is None:
        raise ConfigError(f"nothing installed opens a {kind}; install apsam with `make setup`")
    return cast(Segmenter, entry.load()(target))
