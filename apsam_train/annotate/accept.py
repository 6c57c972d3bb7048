"""`apsam-train annotate accept`: takes a corrected file back and records what it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apsam_train.annotate.corrected import read_corrected
from apsam_train.annotate.documents import (
    Document,
    OutlinedObject,
    ProposedObject,
    Record,
    RoundImage,
    category_ids,
    category_records,
    image_record,
    read_document,
    read_images,
    read_outlined,
    read_proposals,
    to_text,
)
from apsam_train.annotate.matching import match_outlined, match_proposals
from apsam_train.annotate.record import (
    PROPOSALS,
    REVIEWS,
    Agreement,
    Review,
    Round,
    now,
    read_finished,
    write_round,
)
from apsam_train.data.boxes import box_iou
from apsam_train.data.rle import box_of_rle, mask_fields
from apsam_train.errors import ConfigError, DatasetError
from apsam_train.files import sha256_of, write_whole

UNCHANGED_IOU = 0.99
"""Masks that agree so far are unchanged: tools that go through polygons move a few edge pixels."""


@dataclass(kw_only=True)
class _Changes:
    """What becomes of a round's proposals, gathered image by image."""

    unchanged_iou: float
    annotations: list[Record] = field(default_factory=list)
    deleted: list[Record] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    ious: list[float] = field(default_factory=list)
    boxes: list[tuple[float, float]] = field(default_factory=list)

    def add_image(
        self,
        image: RoundImage,
        proposed: Sequence[ProposedObject],
        corrected: Sequence[OutlinedObject],
    ) -> None:
        pairs = match_proposals(proposed, corrected)
        for i, j, iou in pairs.matched:
            self._stayed(image, proposed[i], corrected[j], iou)
        for j in pairs.only_second:
            self._add(image, corrected[j], {"change": "added"})
        for i in pairs.only_first:
            self.counts["deleted"] += 1
            self.ious.append(0.0)
            gone = proposed[i]
            self.deleted.append(
                {"proposal_id": gone.id, "image_id": image.id, "category": gone.category}
            )

    def _stayed(
        self, image: RoundImage, before: ProposedObject, after: OutlinedObject, iou: float
    ) -> None:
        renamed = before.category != after.category
        same = iou >= self.unchanged_iou and not renamed
        self.ious.append(iou)
        self.boxes.append((before.box_iou, box_iou(box_of_rle(after.mask), before.known_box)))
        self.counts["renamed"] += renamed
        facts = {
            "change": "unchanged" if same else "corrected",
            "proposal_id": before.id,
            "iou_before": round(iou, 6),
            "box_iou_before": round(self.boxes[-1][0], 6),
            "box_iou_after": round(self.boxes[-1][1], 6),
            "category_before": before.category,
        }
        self._add(image, after, facts)

    def _add(self, image: RoundImage, one: OutlinedObject, facts: Record) -> None:
        self.counts[facts["change"]] += 1
        self.annotations.append(
            {
                "image_id": image.id,
                "category": one.category,
                **mask_fields(one.mask),
                "iscrowd": 0,
                **facts,
            }
        )


def accept(
    folder: Path,
    *,
    corrected: Path,
    reviewer: str,
    unchanged_iou: float = UNCHANGED_IOU,
) -> Review:
    """Record a corrected COCO file as the next review of a round; the proposals stay as they are.

    A file may hold some of the round's images only; of each image the last review counts. Nothing
    is written before all of it is checked. Raises DatasetError, ConfigError.
    """
    reviewer = reviewer.strip()
    if not reviewer or not reviewer.isprintable():
        raise ConfigError(f"--reviewer {reviewer!r} must be a name")
    if not 0 < unchanged_iou <= 1:
        raise ConfigError(f"--unchanged-iou {unchanged_iou} must lie in (0, 1]")
    record = read_finished(folder)
    document = read_document(folder / PROPOSALS)
    images = read_images(document)
    objects = read_corrected(corrected, images.values())
    proposed = read_proposals(document)
    changes = _Changes(unchanged_iou=unchanged_iou)
    for image_id in sorted(objects):
        changes.add_image(images[image_id], proposed[image_id], objects[image_id])

    number = len(record.reviews) + 1
    file = f"{REVIEWS}/{number:03d}.json"
    before, after = np.array(changes.boxes).reshape(-1, 2).mean(axis=0) if changes.boxes else (0, 0)
    review = Review(
        number=number,
        reviewer=reviewer,
        accepted_at=now(),
        file=file,
        source=corrected.name,
        source_sha256=sha256_of(corrected),
        unchanged_iou=unchanged_iou,
        num_images=len(objects),
        num_unchanged=changes.counts["unchanged"],
        num_corrected=changes.counts["corrected"],
        num_added=changes.counts["added"],
        num_deleted=changes.counts["deleted"],
        num_renamed=changes.counts["renamed"],
        miou=float(np.mean(changes.ious)) if changes.ious else 0.0,
        box_iou_before=float(before),
        box_iou_after=float(after),
        agreement=_agreement(folder, record, reviewer, objects),
    )
    (folder / REVIEWS).mkdir(exist_ok=True)
    reviewed = [images[image_id] for image_id in sorted(objects)]
    write_whole(folder / file, to_text(_document(review, reviewed, changes)))
    write_round(folder, record.with_review(review))
    return review


def accepted_objects(folder: Path, record: Round) -> dict[int, list[OutlinedObject]]:
    """The objects of every reviewed image by image id, of each image as last reviewed."""
    found: dict[int, list[OutlinedObject]] = {}
    for review in record.reviews:
        found |= read_outlined(read_document(folder / review.file))
    return found


def _document(review: Review, images: Sequence[RoundImage], changes: _Changes) -> Document:
    ids = category_ids(record["category"] for record in changes.annotations)
    annotations = []
    for number, record in enumerate(changes.annotations, start=1):
        rest = {key: value for key, value in record.items() if key != "category"}
        annotations.append({"id": number, "category_id": ids[record["category"]], **rest})
    return {
        "info": {"reviewer": review.reviewer, "accepted_at": review.accepted_at},
        "categories": category_records(ids),
        "images": [image_record(image) for image in images],
        "annotations": annotations,
        "deleted": changes.deleted,
    }


def _agreement(
    folder: Path, record: Round, reviewer: str, objects: Mapping[int, Sequence[OutlinedObject]]
) -> Agreement | None:
    """With the last review by another person that shares images; None when there is none."""
    for review in reversed(record.reviews):
        if review.reviewer == reviewer:
            continue
        other = read_outlined(read_document(folder / review.file))
        shared = sorted(objects.keys() & other.keys())
        if not shared:
            continue
        pairs = [match_outlined(other[image], objects[image]) for image in shared]
        ious = [iou for found in pairs for _, _, iou in found.matched]
        return Agreement(
            with_review=review.number,
            with_reviewer=review.reviewer,
            miou=float(np.mean(ious)) if ious else 0.0,
            num_images=len(shared),
            num_matched=len(ious),
            num_unmatched=sum(len(p.only_first) + len(p.only_second) for p in pairs),
        )
    return None


def require_reviews(folder: Path) -> Round:
    """The record of a round that has been reviewed. Raises DatasetError for any other."""
    record = read_finished(folder)
    if not record.reviews:
        raise DatasetError(
            f"{folder} has not been reviewed; hand in its correction with `apsam-train annotate "
            "accept`"
        )
    return record
