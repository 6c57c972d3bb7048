"""A folder whose runs all belong to one experiment, so that what is done already can be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from apsam_train.errors import CheckpointError
from apsam_train.files import write_whole


def claim_folder(out: Path, experiment: Mapping[str, str]) -> None:
    """Note in OUT/experiment.json what the runs in `out` depend on, by name.

    Raises CheckpointError, and changes nothing, when `out` holds runs that depend on other values.
    """
    file = out / "experiment.json"
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name, value in experiment.items() if before.get(name) != value]
        if changed:
            raise CheckpointError(
                f"{out} holds runs of another experiment (other {', '.join(changed)}); "
                "choose another --out"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(experiment, indent=2) + "\n")
