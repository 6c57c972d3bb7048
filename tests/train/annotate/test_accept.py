"""Corrections as tools export them: what is recorded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apsam_train.annotate.accept import accept
from apsam_train.annotate.record import read_round
from apsam_train.errors import ConfigError, DatasetError
from tests.train.annotate.fakes import (
    BLOCKS,
    Change,
    Correct,
    Document,
    proposals_of,
    rle_of,
    write_boxes,
)

SHIFTED = (4, 8, 20, 28)
"""The first block, four of its twenty rows lower: IoU 2/3."""


def test_a_round_that_comes_back_as_it_went_is_unchanged(a_round: Path, correct: Correct) -> None:
    review = accept(a_round, corrected=correct(a_round), reviewer="Ada")
    assert (review.num_images, review.num_unchanged, review.miou) == (3, 6, 1.0)
    assert (review.num_corrected, review.num_added, review.num_deleted) == (0, 0, 0)


def as_a_tool_would(document: Document) -> None:
    """Renumber everything, lose the folders, turn masks into polygons or crowds; correct the first
    object, delete the second, rename the third, add one to the last image."""
    for image in document["images"]:
        image["id"] += 100
        image["file_name"] = Path(image["file_name"]).name
    for number, annotation in enumerate(document["annotations"]):
        annotation |= {"id": 900 - number, "image_id": annotation["image_id"] + 100, "iscrowd": 1}
    document["categories"] = [{"id": 50, "name": "Gun"}, {"id": 60, "name": "Bullet"}]
    for annotation in document["annotations"]:
        annotation["category_id"] = 50
    first, _, third, fourth = document["annotations"][:4]
    first["segmentation"] = rle_of(*SHIFTED)
    third["category_id"] = 60
    left, top, right, bottom = BLOCKS[1]
    fourth["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
    added = {"id": 7, "image_id": 103, "category_id": 60, "segmentation": rle_of(0, 40, 8, 48)}
    document["annotations"] = [*reversed(document["annotations"]), added]
    document["annotations"].remove(next(a for a in document["annotations"] if a["id"] == 899))


def test_what_a_reviewer_changed_is_told_in_spite_of_new_ids_and_lost_folders(
    a_round: Path, correct: Correct
) -> None:
    before = (a_round / "proposals.json").read_bytes()
    review = accept(a_round, corrected=correct(a_round, as_a_tool_would), reviewer=" Ada ")
    assert (review.num_unchanged, review.num_corrected, review.num_renamed) == (3, 2, 1)
    assert (review.num_added, review.num_deleted) == (1, 1)
    assert review.share_touched == 3 / 6
    assert review.miou == pytest.approx((2 / 3 + 0 + 4) / 6)
    assert review.box_iou_before == 1
    assert review.box_iou_after == pytest.approx((2 / 3 + 4) / 5)
    assert (a_round / "proposals.json").read_bytes() == before
    (recorded,) = read_round(a_round).reviews
    assert recorded == review
    assert recorded.reviewer == "Ada"

    document = json.loads((a_round / review.file).read_text())
    changes = {a["proposal_id"]: a for a in document["annotations"] if "proposal_id" in a}
    assert changes[1]["change"] == "corrected"
    assert changes[1]["iou_before"] == pytest.approx(2 / 3, abs=1e-6)
    assert (changes[3]["change"], changes[3]["category_before"]) == ("corrected", "Gun")
    assert changes[4]["change"] == "unchanged"
    assert document["deleted"] == [{"proposal_id": 2, "image_id": 1, "category": "Gun"}]


def test_an_image_without_objects_says_that_all_were_deleted(
    a_round: Path, correct: Correct
) -> None:
    def delete_all_of_the_first(document: Document) -> None:
        document["images"] = document["images"][:1]
        document["annotations"] = []

    review = accept(a_round, corrected=correct(a_round, delete_all_of_the_first), reviewer="Ada")
    assert (review.num_images, review.num_deleted, review.miou) == (1, 2, 0.0)


def test_a_second_reviewer_is_compared_with_the_first(a_round: Path, correct: Correct) -> None:
    def move_the_first(document: Document) -> None:
        document["annotations"][0]["segmentation"] = rle_of(*SHIFTED)

    def drop_the_last(document: Document) -> None:
        document["annotations"].pop()

    accept(a_round, corrected=correct(a_round, move_the_first), reviewer="Ada")
    again = accept(a_round, corrected=correct(a_round), reviewer="Ada")
    assert again.agreement is None
    second = accept(a_round, corrected=correct(a_round, drop_the_last), reviewer="Bo").agreement
    assert second is not None
    assert (second.with_review, second.with_reviewer, second.miou) == (2, "Ada", 1.0)
    assert (second.num_images, second.num_matched, second.num_unmatched) == (3, 5, 1)
    assert [review.reviewer for review in read_round(a_round).reviews] == ["Ada", "Ada", "Bo"]


def set_first(**values: object) -> Change:
    return lambda document: document["annotations"][0].update(values)


def set_image(**values: object) -> Change:
    return lambda document: document["images"][1].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_image(file_name="images/009.png"), "1 images are not of this round: images/009.png"),
        (set_image(width=128), r"images/001.png is 128 x 48 pixels, the round's .* is 64 x 48"),
        (set_image(file_name="images/000.png"), "lists images twice: images/000.png"),
        (set_image(id=1), "gives several images the same id"),
        (set_first(image_id=9), "1 annotations have an image that is not listed: annotation 1"),
        (set_first(category_id=99), "have a category that is not listed: annotation 1 of images/0"),
        (set_first(segmentation=[]), r"no usable outline: annotation 1 of .* \(only a box"),
        (set_first(segmentation=[[1, 2, 3, 4]]), r"damaged: polygon .* needs three points"),
        (set_first(segmentation=[[0, 0, 9, 0, float("nan"), 9]]), "polygon holds NaN"),
        (set_first(segmentation=[[80, 60, 90, 60, 90, 70]]), "no pixel of it lies inside"),
        (set_first(segmentation={"size": [9, 9], "counts": "i"}), "differs from image size"),
        (lambda document: document.update(images=[]), "lists 0 images"),
        (lambda document: document.pop("categories"), "is no COCO instances file"),
        (lambda document: document["images"][0].pop("file_name"), "has a record without"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_whole(
    change: Change, message: str, a_round: Path, correct: Correct
) -> None:
    record = (a_round / "round.json").read_bytes()
    with pytest.raises(DatasetError, match=message):
        accept(a_round, corrected=correct(a_round, change), reviewer="Ada")
    assert (a_round / "round.json").read_bytes() == record
    assert not (a_round / "reviews").exists()


@pytest.mark.parametrize(
    ("reviewer", "unchanged_iou", "message"),
    [("  ", 0.9, "--reviewer '' must be a name"), ("Ada", 0.0, r"--unchanged-iou 0.0 must lie")],
)
def test_a_review_needs_a_name_and_a_limit(
    reviewer: str, unchanged_iou: float, message: str, a_round: Path, correct: Correct
) -> None:
    file = correct(a_round)
    with pytest.raises(ConfigError, match=message):
        accept(a_round, corrected=file, reviewer=reviewer, unchanged_iou=unchanged_iou)


def test_a_data_set_is_no_round(tmp_path: Path) -> None:
    folder = write_boxes(tmp_path / "boxes")
    with pytest.raises(DatasetError, match=r"is no annotation round: it has no round\.json"):
        accept(folder, corrected=folder / "annotations.json", reviewer="Ada")


def test_proposals_are_worth_nothing_to_a_reviewer_before_they_exist(a_round: Path) -> None:
    assert len(proposals_of(a_round)["annotations"]) == 6
    (a_round / "proposals.json").unlink()
    with pytest.raises(DatasetError, match="is not finished; run the same"):
        accept(a_round, corrected=a_round / "round.json", reviewer="Ada")
