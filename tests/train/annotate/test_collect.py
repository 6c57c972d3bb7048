"""From accepted rounds to a training set, and the report of what they cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_serve.errors import OutputExistsError
from apsam_train.annotate.accept import accept
from apsam_train.annotate.collect import collect
from apsam_train.annotate.propose import propose
from apsam_train.annotate.report import write_report
from apsam_train.data.formats import open_dataset
from apsam_train.errors import DatasetError
from tests.train.annotate.fakes import BoxFiller, Correct, Document, rle_of, write_boxes

CORRECTED = (4, 8, 20, 28)


def move_first(document: Document) -> None:
    document["annotations"][0]["segmentation"] = rle_of(*CORRECTED)


def only_first_image(document: Document) -> None:
    document["images"] = document["images"][:1]
    document["annotations"] = document["annotations"][:1]
    move_first(document)


def test_a_collected_round_reads_as_a_data_set(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    accept(a_round, corrected=correct(a_round, move_first), reviewer="Ada")
    collect([a_round], out=tmp_path / "next")
    dataset = open_dataset(tmp_path / "next")
    assert (dataset.format, len(dataset)) == ("coco", 3)
    sample = dataset[0]
    assert sample.problems == ()
    assert [one.category for one in sample.instances] == ["Gun", "Gun"]
    rows, columns = sample.instances[0].mask.nonzero()
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == CORRECTED


def test_only_reviewed_images_are_collected_and_the_last_review_counts(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    accept(a_round, corrected=correct(a_round, only_first_image), reviewer="Ada")
    (image,) = collect([a_round], out=tmp_path / "first")
    assert len(image.objects) == 1
    accept(a_round, corrected=correct(a_round), reviewer="Bo")
    images = collect([a_round], out=tmp_path / "second")
    assert [len(image.objects) for image in images] == [2, 2, 2]


def test_of_the_same_image_the_last_round_counts_and_a_data_set_least(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    later = tmp_path / "round2"
    propose(BoxFiller(), open_dataset(tmp_path / "boxes"), out=later, model="fake")
    accept(a_round, corrected=correct(a_round), reviewer="Ada")
    accept(later, corrected=correct(later, only_first_image), reviewer="Ada")
    extra = open_dataset(write_boxes(tmp_path / "masks", num_images=4, masks=True))
    images = collect([a_round, later], out=tmp_path / "next", extra=extra)
    assert [image.origin for image in images] == ["round2", "round1", "round1", "masks"]
    earlier_wins = collect([later, a_round], out=tmp_path / "other")
    assert [image.origin for image in earlier_wins] == ["round1"] * 3


def test_other_images_of_the_same_name_are_kept_apart(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    accept(a_round, corrected=correct(a_round), reviewer="Ada")
    (tmp_path / "other").mkdir()
    names = ["x.png", "../away.png", "images/000.png"]
    other = write_boxes(tmp_path / "other", names=names, masks=True, shade=100)
    extra = open_dataset(other)
    collect([a_round], out=tmp_path / "next", extra=extra, link=True)
    found = sorted(entry.name for entry in open_dataset(tmp_path / "next").entries)
    assert "images/away.png" in found
    assert len([name for name in found if name.startswith("images/000")]) == 2
    assert len(found) == 6
    assert (tmp_path / "next" / "images" / "x.png").is_symlink()


def test_images_whose_objects_are_not_all_outlined_are_left_out(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    accept(a_round, corrected=correct(a_round, only_first_image), reviewer="Ada")
    images = collect([a_round], out=tmp_path / "next", extra=open_dataset(tmp_path / "boxes"))
    assert [image.origin for image in images] == ["round1"]


def test_what_cannot_be_collected_is_refused(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="has not been reviewed; hand in its correction"):
        collect([a_round], out=tmp_path / "next")
    accept(a_round, corrected=correct(a_round), reviewer="Ada")
    with pytest.raises(DatasetError, match="0 reviewed images of split 'val'"):
        collect([a_round], out=tmp_path / "next", split="val")
    with pytest.raises(OutputExistsError, match="exists already"):
        collect([a_round], out=a_round)
    image = tmp_path / "boxes" / "images" / "001.png"
    image.write_bytes(image.read_bytes() + b"0")
    with pytest.raises(DatasetError, match=r"001\.png has changed since"):
        collect([a_round], out=tmp_path / "next")
    image.unlink()
    with pytest.raises(DatasetError, match=r"001.png of .* is not there; .* set data_root in"):
        collect([a_round], out=tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_a_report_has_a_row_per_round_and_a_curve(
    a_round: Path, correct: Correct, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="has not been reviewed"):
        write_report([a_round], out=tmp_path / "rounds.md")
    accept(a_round, corrected=correct(a_round, move_first), reviewer="Ada")
    accept(a_round, corrected=correct(a_round), reviewer="Bo")
    text, picture = tmp_path / "rounds.md", tmp_path / "rounds.png"
    assert list(write_report([a_round, a_round], out=text)) == [a_round.name]
    rows = [line for line in text.read_text().splitlines() if line.startswith("| round1")]
    assert rows[0].startswith("| round1 | fake (abababab) | 3 | 6 | 0.0% | 0 | 0 | 0 | 100.0% |")
    assert rows[0].endswith("| Bo | 94.4% with Ada, 0 unmatched |")
    assert picture.read_bytes().startswith(b"\x89PNG")
