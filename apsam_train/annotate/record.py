"""The record of a round, `round.json`: who proposed what with which model, and who corrected it.

A round is a folder:

    round.json        this record
    proposals.jsonl   one line per image, appended as they are done
    proposals.json    the same as COCO instances, for an annotation tool; never changed afterwards
    review.csv        the work list, worst first
    worst.png         a picture of the worst
    reviews/NNN.json  every accepted review as COCO instances, with what it changed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apsam_train.data.files import read_json
from apsam_train.errors import DatasetError
from apsam_train.files import write_whole

FORMAT_VERSION = 1
RECORD, PROPOSALS, JOURNAL = "round.json", "proposals.json", "proposals.jsonl"
WORK_LIST, SHEET, REVIEWS = "review.csv", "worst.png", "reviews"


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """How the proposals came to be. model: checkpoint, bundle or server; model_sha256: of the
    checkpoint or the bundle's manifest, None for a server; data_root: what image paths are relative
    to; finished_at: None until all images are done; the counts are those of a finished round."""

    model: str
    model_sha256: str | None
    data: str
    data_root: str
    options: Mapping[str, Any]
    started_at: str
    finished_at: str | None = None
    num_images: int = 0
    num_objects: int = 0
    num_flagged: int = 0
    mean_score: float = 0.0
    mean_box_iou: float = 0.0
    flags: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two reviewers on the images both have reviewed. miou: of objects both outlined;
    num_unmatched: objects that only one of them outlined."""

    with_review: int
    with_reviewer: str
    miou: float
    num_images: int
    num_matched: int
    num_unmatched: int


@dataclass(frozen=True, kw_only=True)
class Review:
    """One accepted correction. miou: of the proposals with what became of them, deleted ones
    counting 0; box_iou_before, box_iou_after: mean agreement with the known boxes of the objects
    that stayed, as proposed and as corrected; num_renamed: objects whose category changed."""

    number: int
    reviewer: str
    accepted_at: str
    file: str
    source: str
    source_sha256: str
    unchanged_iou: float
    num_images: int
    num_unchanged: int
    num_corrected: int
    num_added: int
    num_deleted: int
    num_renamed: int
    miou: float
    box_iou_before: float
    box_iou_after: float
    agreement: Agreement | None = None

    @property
    def share_touched(self) -> float:
        """Share of the proposals that were corrected or deleted."""
        proposed = self.num_unchanged + self.num_corrected + self.num_deleted
        return (self.num_corrected + self.num_deleted) / proposed if proposed else 0.0


@dataclass(frozen=True, kw_only=True)
class Round:
    """The whole record."""

    proposed: Proposed
    reviews: tuple[Review, ...] = ()
    format_version: int = FORMAT_VERSION

    def with_review(self, review: Review) -> Round:
        """The record with one more review."""
        return replace(self, reviews=(*self.reviews, review))


def now() -> str:
    """The time for a record: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_round(folder: Path, record: Round) -> None:
    """Write FOLDER/round.json, whole or not at all."""
    write_whole(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")


def read_round(folder: Path) -> Round:
    """Read FOLDER/round.json. Raises DatasetError when it is missing or not of this release."""
    file = folder / RECORD
    if not file.is_file():
        raise DatasetError(
            f"{folder} is no annotation round: it has no {RECORD}; give the --out folder of "
            "`apsam-train annotate propose`"
        )
    document = read_json(file)
    try:
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"{file} has format_version {version}; this release reads {FORMAT_VERSION}"
            )
        return Round(
            proposed=Proposed(**document["proposed"]),
            reviews=tuple(_review(values) for values in document["reviews"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file} is no record of a round: {error}; restore it") from error


def read_finished(folder: Path) -> Round:
    """Read the record of a round whose proposals are complete. Raises DatasetError otherwise."""
    record = read_round(folder)
    if record.proposed.finished_at is None or not (folder / PROPOSALS).is_file():
        raise DatasetError(
            f"{folder} is not finished; run the same `apsam-train annotate propose` again, it goes "
            "on where it stopped"
        )
    return record


def _review(values: dict[str, Any]) -> Review:
    agreement = values["agreement"]
    return Review(**values | {"agreement": Agreement(**agreement) if agreement else None})
