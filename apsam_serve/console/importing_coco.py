"""Objects of a COCO instances file onto the images of a project: `proposals.json` of a round of
`apsam-train annotate`, an earlier export, or any other.

An image is known by the digest of its bytes where the file has one (`sha256`, as both of ours do),
else by its size and its name: the whole path, or the last part of it where only one image has that.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from apsam_serve.console.importing import Progress, Refused
from apsam_serve.console.project import Project
from apsam_serve.console.rows import ImageRow, NewObject, Verdict
from apsam_serve.console.segmentations import read_segmentation
from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.masks import encode_rle
from apsam_serve.errors import InvalidInputError

MAX_BYTES = 512 * 2**20
"""Of one file: a hundred thousand masks take a tenth of it."""
_KEYS = ("images", "annotations", "categories")
Record = Mapping[str, Any]
Seen = tuple[str, str | None]
"""Run lengths and category."""


@dataclass(kw_only=True)
class Imported:
    """num_objects: that were added; num_known: that the project has or once had; nameless: added
    objects by category that is none of `CATEGORIES`, and was left out; refused: what was not added,
    and why."""

    num_objects: int = 0
    num_known: int = 0
    nameless: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)


def import_coco(project: Project, file: Path, progress: Progress) -> Imported:
    """Add the objects of a COCO file to the images that the project has.

    An object whose mask and category its image has or once had is passed over, so what a reviewer
    corrected or removed does not come back, and an import that was cut off is simply repeated.
    Raises InvalidInputError where it is no COCO file, ProjectError.
    """
    images, annotations, names = _read(file)
    find = _finder(project)
    rows = {record.get("id"): find(record) for record in images}
    once = {row.id: _once(project, row) for row in rows.values() if row is not None}
    result = Imported()
    for record in images:
        if rows[record.get("id")] is None:
            why = "is no image of the project in that size, or several have its name"
            result.refused.append(Refused(name=str(record.get("file_name")), why=why))
    progress(0, len(annotations))
    for number, record in enumerate(annotations, start=1):
        row = rows.get(record.get("image_id"))
        if row is not None:
            name = str(names.get(record.get("category_id")))
            _add(project, row, record, name, once=once[row.id], result=result)
        progress(number, len(annotations))
    return result


def _add(
    project: Project,
    row: ImageRow,
    record: Record,
    name: str,
    *,
    once: set[Seen],
    result: Imported,
) -> None:
    try:
        new = _new_object(record, row, name if name in CATEGORIES else None)
        seen = (new.mask.counts, new.category)
        if seen in once:
            result.num_known += 1
            return
        project.save_object(row.id, new)
    except InvalidInputError as error:
        where = f"{row.name}, annotation {record.get('id')}"
        result.refused.append(Refused(name=where, why=str(error)))
        return
    once.add(seen)
    result.num_objects += 1
    result.nameless.update([name] if new.category is None else [])


def _read(file: Path) -> tuple[list[Record], list[Record], dict[Any, str]]:
    """Images, annotations, and names of categories by id."""
    try:
        num_bytes = file.stat().st_size
        document = json.loads(file.read_bytes()) if num_bytes <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file.name} cannot be read as JSON ({error})") from error
    if num_bytes > MAX_BYTES:
        raise InvalidInputError(
            f"{file.name} has {num_bytes} bytes; divide it into files of {MAX_BYTES}"
        )
    lists: list[Any] = [document.get(k) if isinstance(document, dict) else None for k in _KEYS]
    if not all(_are_records(records) for records in lists):
        raise InvalidInputError(
            f"{file.name} is no COCO instances file; it needs lists of {', '.join(_KEYS)}"
        )
    images, annotations, categories = lists
    return images, annotations, {one.get("id"): str(one.get("name")) for one in categories}


def _are_records(records: object) -> bool:
    """Objects whose ids can be looked up."""
    return isinstance(records, list) and all(
        isinstance(record, dict)
        and not isinstance(record.get("id"), list | dict)
        and not isinstance(record.get("image_id"), list | dict)
        and not isinstance(record.get("category_id"), list | dict)
        for record in records
    )


def _finder(project: Project) -> Callable[[Record], ImageRow | None]:
    images = project.images()
    by_digest = {row.sha256: row for row in images}
    by_name = {row.name.casefold(): row for row in images}
    by_last: dict[str, list[ImageRow]] = defaultdict(list)
    for row in images:
        by_last[row.name.casefold().rpartition("/")[2]].append(row)

    def find(record: Record) -> ImageRow | None:
        digest = record.get("sha256")
        if isinstance(digest, str):
            return by_digest.get(digest)
        name = str(record.get("file_name")).replace("\\", "/").casefold()
        last = by_last[name.rpartition("/")[2]]
        row = by_name.get(name) or (last[0] if len(last) == 1 else None)
        if row is None or (record.get("height"), record.get("width")) != (row.height, row.width):
            return None
        return row

    return find


def _once(project: Project, row: ImageRow) -> set[Seen]:
    return {(s.state["mask"]["counts"], s.state["category"]) for s in project.history(row.id)}


def _new_object(record: Record, row: ImageRow, category: str | None) -> NewObject:
    mask = read_segmentation(record.get("segmentation"), height=row.height, width=row.width)
    score, verdict = record.get("score"), record.get("verdict")
    reviewer, number = record.get("reviewer"), record.get("round")
    plain = NewObject(mask=encode_rle(mask))
    verdicts: Mapping[object, Verdict] = {name: name for name in get_args(Verdict)}
    return NewObject(
        mask=plain.mask,
        category=category,
        score=float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None,
        source="imported",
        verdict=verdicts.get(str(verdict), plain.verdict),
        reviewer=reviewer if isinstance(reviewer, str) and reviewer.isprintable() else "",
        round=number if isinstance(number, int) and number >= 0 else plain.round,
    )
