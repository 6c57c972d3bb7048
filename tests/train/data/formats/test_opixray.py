"""OPIXray's layout, and the lines of its text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import recognise
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "OPIXray"
    for part, stems in (("train", ("010001", "010002")), ("test", ("020001", "020002"))):
        for stem in stems:
            write_image(home / part / f"{part}_image" / f"{stem}.jpg")
            line = f"{stem}.jpg Folding_Knife 5 6 15 26\n"
            write(home / part / f"{part}_annotation" / f"{stem}.txt", line)
        write(home / part / f"{part}_knife.txt", "".join(f"{s}.jpg\n" for s in stems))
    write(home / "test" / "test_knife-1.txt", "020001.jpg\n")
    write(home / "test" / "test_knife-3.txt", "020002\n")
    return home


def annotate(root: Path, text: str) -> None:
    write(root / "train" / "train_annotation" / "010001.txt", text)


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == "opixray"
    assert fitting(root) == ["opixray"]
    assert recognise(root.parent) == "opixray"  # packed once more


def test_without_lists_its_classes_tell_it_from_hixray(root: Path) -> None:
    for file in root.glob("t*/*.txt"):
        file.unlink()
    assert fitting(root) == ["opixray"]


def test_boxes_are_read_as_they_stand(root: Path) -> None:
    samples, problems = read(root)
    assert boxes(samples["train/train_image/010001.jpg"]) == [("Folding_Knife", 5, 6, 15, 26)]
    assert not problems


def test_levels_of_occlusion_are_parts_of_the_test_split(root: Path) -> None:
    samples, _ = read(root, split="test")
    assert splits(samples) == {
        "test/test_image/020001.jpg": "test/1",
        "test/test_image/020002.jpg": "test/3",
    }
    assert list(read(root, split="test/3")[0]) == ["test/test_image/020002.jpg"]


@pytest.mark.parametrize("suffix", [".TIFF", ".tiff", ".png"])
def test_an_image_may_have_another_suffix_than_the_text_says(root: Path, suffix: str) -> None:
    file = root / "train" / "train_image" / "010001.jpg"
    file.unlink()
    write_image(file.with_suffix(suffix.lower())).rename(file.with_suffix(suffix))
    samples, problems = read(root)
    assert len(boxes(samples[f"train/train_image/010001{suffix}"])) == 1
    assert not problems


@pytest.mark.parametrize(
    ("line", "expected", "kind"),
    [
        ("010001.jpg Scissor 30 20 60 29", [("Scissor", 30, 20, 40, 29)], "outside the image"),
        ("010001.jpg Scissor 50 20 60 29", [], "outside the image"),
        ("010001.jpg Scissor 9 9 5 12", [], "bad annotation"),
        ("010001.jpg Scissor 9 9 five 12", [], "bad annotation"),
        ("Scissor 1 2 3 4", [], "bad annotation"),
        ("010002.jpg Scissor 1 2 3 4", [], "bad annotation"),
        ("010001.jpg Sword 1 2 9 9", [("Sword", 1, 2, 9, 9)], "unknown category"),
    ],
)
def test_what_is_wrong_with_a_line_is_counted(
    root: Path, line: str, expected: list[object], kind: str
) -> None:
    annotate(root, f"\n{line}\n")
    samples, problems = read(root)
    assert boxes(samples["train/train_image/010001.jpg"]) == expected
    assert problems == {kind: 1}


def test_an_image_without_annotation_is_left_out_and_counted(root: Path) -> None:
    (root / "train" / "train_annotation" / "010001.txt").unlink()
    samples, problems = read(root, split="train")
    assert list(samples) == ["train/train_image/010002.jpg"]
    assert problems == {"image without annotation": 1}


def test_an_annotation_without_image_is_counted_once(root: Path) -> None:
    (root / "train" / "train_image" / "010001.jpg").unlink()
    assert read(root)[1] == {"annotation without image": 1}


def test_files_that_macos_leaves_behind_are_not_data(root: Path) -> None:
    write(root / "train" / "train_image" / "._010001.jpg", "x")
    write(root / "train" / "train_annotation" / "._010001.txt", "x")
    samples, problems = read(root)
    assert len(samples) == 4
    assert not problems
