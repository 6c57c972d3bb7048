"""Runs the stages in order, each from the index of the one before, unless it is done already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apsam_serve.progress import Progress
from apsam_train.curate.filters import Stage
from apsam_train.curate.index import header, records, stage_key, write_index
from apsam_train.curate.measuring import measure_sources
from apsam_train.curate.merge import Merge
from apsam_train.curate.record import Record
from apsam_train.curate.sources import Source
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError
from apsam_train.files import sha256_of


def run_stages(
    sources: Sequence[Source],
    stages: Mapping[str, Stage],
    merge: Merge,
    *,
    out: Path,
    workers: int,
    log: ProblemLog,
) -> list[Path]:
    """Bring OUT/stages up to date; returns the index of every stage, in order.

    Raises DatasetError when nothing is left, naming the stage that dropped the last image.
    """
    folder = out / "stages"
    names = ["measure", *stages, "merge"]
    files = [folder / f"{number:02d}_{name}.jsonl" for number, name in enumerate(names, start=1)]
    with Progress("curate") as bar:
        bar.show(0, names[0])
        measure_sources(sources, files[0], workers=workers, log=log)
        for number, name in enumerate(names[1:-1], start=1):
            bar.show(number / len(names), name)
            _filter(name, stages[name], files[number - 1], files[number])
        bar.show(1 - 1 / len(names), names[-1])
        _merge(merge, measured=files[0], before=files[-2], after=files[-1], out=out)
        bar.show(1, "all stages")
    return files


def _filter(name: str, stage: Stage, before: Path, after: Path) -> None:
    key = stage_key(name, source=sha256_of(before), options=stage.options())
    if header(after).get("key") == key:
        return
    kept, notes = stage.apply(_left(before))
    write_index(after, stage=name, key=key, notes=notes, content=kept)


def _merge(merge: Merge, *, measured: Path, before: Path, after: Path, out: Path) -> None:
    options: dict[str, Any] = {**merge.options(), "in_xseg": merge.in_xseg}
    key = stage_key("merge", source=sha256_of(before), options=options)
    done = header(after)
    if done.get("key") == key and merge.is_written(done["notes"], out):
        return
    left = _left(before)
    notes = merge.write(left, measured, out)
    write_index(after, stage="merge", key=key, notes=notes, content=left)


def _left(index: Path) -> list[Record]:
    left = [record for record in records(index) if not record.dropped]
    if not left:
        raise DatasetError(
            f"no image is left after the stage {header(index).get('stage')!r}; see the reasons in "
            f"{index}, and loosen its options with --again"
        )
    return left
