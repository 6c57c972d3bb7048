"""The folder that is written: made from one set of options, and never overwritten by another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_train.data.dataset import ImageDataset
from apsam_train.errors import ConfigError
from apsam_train.files import write_whole

_SETTINGS = "curate.json"
_PREVIOUS = "previous"


def refuse_nested(out: Path, dataset: ImageDataset) -> None:
    """Raises ConfigError when the output lies in a source, or a source in the output."""
    root, target = dataset.root.resolve(), out.resolve()
    if root == target or root in target.parents or target in root.parents:
        raise ConfigError(
            f"--out {out} and source {dataset.root} lie in each other; choose another"
        )


def open_workspace(out: Path, settings: Mapping[str, Any], *, again: bool) -> None:
    """Make `out` ready to be written with these settings: {"sources": [...], "options": {...}}.

    A result of the same settings is gone on with. Raises ConfigError for one of others, unless
    `again` moves it to OUT/previous/NNN, and for a folder that is something else.
    """
    file = out / _SETTINGS
    if not file.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"--out {out} holds something else; choose a new or empty folder")
        out.mkdir(parents=True, exist_ok=True)
    else:
        earlier = json.loads(file.read_text(encoding="utf-8"))
        changes = _changes(earlier, settings)
        if not changes:
            return
        if not again:
            raise ConfigError(
                f"--out {out} holds a result of other options: {'; '.join(changes)}. Choose "
                f"another --out, or give --again: the earlier result moves to {_PREVIOUS}/ in it"
            )
        _archive(out, keep_measured=earlier["sources"] == settings["sources"])
    (out / "stages").mkdir(exist_ok=True)
    write_whole(file, json.dumps(settings, indent=2) + "\n")


def _changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changes = []
    before, after = ({s["name"]: s for s in settings["sources"]} for settings in (earlier, now))
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            changes.append(f"source {name} is gone")
        elif name not in before:
            changes.append(f"source {name} is new")
        elif before[name] != after[name]:
            parts = [k for k in after[name] if before[name].get(k) != after[name][k]]
            said = [
                f"{k} {before[name].get(k)} -> {after[name][k]}" for k in parts if k != "digest"
            ]
            changes.append(f"files of source {name} changed" + f" ({', '.join(said)})" * bool(said))
    if not changes and list(before) != list(after):
        changes.append(f"order of sources {', '.join(before)} -> {', '.join(after)}")
    options, others = earlier["options"], now["options"]
    for option in sorted({*options, *others}):
        if options.get(option) != others.get(option):
            changes.append(f"{option} was {options.get(option)}, is now {others.get(option)}")
    return changes


def _archive(out: Path, *, keep_measured: bool) -> None:
    """Move all of an earlier result, `curate.json` last, so that a broken move is seen."""
    previous = out / _PREVIOUS
    previous.mkdir(exist_ok=True)
    number = 1 + max((int(f.name) for f in previous.iterdir() if f.name.isdigit()), default=0)
    archive = previous / f"{number:03d}"
    archive.mkdir()
    moved = [item for item in out.iterdir() if item.name not in (_PREVIOUS, _SETTINGS)]
    for item in [*sorted(moved), out / _SETTINGS]:
        shutil.move(item, archive / item.name)
    (out / "stages").mkdir()
    if keep_measured:
        for file in (archive / "stages").glob("01_measure*"):
            shutil.copy2(file, out / "stages" / file.name)
