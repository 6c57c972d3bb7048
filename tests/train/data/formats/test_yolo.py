"""YOLO: where images and labels lie, what a line says, how names are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsam_train.data.formats import load, recognise
from apsam_train.data.yaml_names import class_names
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("train", "valid"):
        write_image(tmp_path / "images" / part / "a.jpg")
        write(tmp_path / "labels" / part / "a.txt", "1 0.5 0.5 0.5 0.2\n")
    write(tmp_path / "data.yaml", "names: [Knife, Gun]\n")
    return tmp_path


def label(root: Path, text: str) -> None:
    write(root / "labels" / "train" / "a.txt", text)


def test_it_is_recognised_when_nothing_more_special_claims_it(root: Path) -> None:
    assert recognise(root) == "yolo"
    assert fitting(root) == []


def test_folders_of_masks_are_not_claimed(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.jpg")
    write_image(tmp_path / "labels" / "a.png")
    assert not load("yolo").looks_like(tmp_path)


@pytest.mark.parametrize("form", ["{kind}/{part}", "{part}/{kind}", "nested/{part}/{kind}"])
def test_splits_are_folders_either_way_round(tmp_path: Path, form: str) -> None:
    for part in ("train", "valid"):
        write_image(tmp_path / form.format(kind="images", part=part) / "a.jpg")
        write(tmp_path / form.format(kind="labels", part=part) / "a.txt", "0 0.5 0.5 0.5 0.2\n")
    samples, problems = read(tmp_path)
    assert sorted(splits(samples).values()) == ["train", "valid"]
    assert all(len(sample.boxes) == 1 for sample in samples.values())
    assert not problems


def test_an_undivided_data_set_has_no_splits(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.jpg")
    write(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.5 0.2\n")
    write(tmp_path / "labels" / "classes.txt", "Sharp knife\n")
    samples, problems = read(tmp_path)
    assert splits(samples) == {"images/a.jpg": ""}
    assert boxes(samples["images/a.jpg"])[0][0] == "Sharp knife"
    assert not problems


def test_boxes_and_outlines_stand_in_one_file(root: Path) -> None:
    label(root, "0 0.5 0.5 0.5 0.2\n1 0.25 0.2 0.75 0.2 0.75 0.6 0.25 0.6\n")
    sample = read(root)[0]["images/train/a.jpg"]
    assert boxes(sample) == [("Knife", 10, 12, 30, 18)]
    rows, columns = np.nonzero(sample.instances[0].mask)
    assert sample.instances[0].category == "Gun"
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (10, 30, 6, 18)


def test_an_empty_file_says_that_nothing_is_there(root: Path) -> None:
    label(root, "\n")
    samples, problems = read(root)
    assert boxes(samples["images/train/a.jpg"]) == []
    assert not problems


def test_a_missing_file_says_so_too_but_is_counted(root: Path) -> None:
    (root / "labels" / "train" / "a.txt").unlink()
    samples, problems = read(root)
    assert boxes(samples["images/train/a.jpg"]) == []
    assert problems == {"image without annotation": 1}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2 0.5 0.5 0.5 0.2", "unknown category"),
        ("-1 0.5 0.5 0.5 0.2", "unknown category"),
        ("1 0.5 0.5 0.5", "bad annotation"),
        ("1 0.5 0.5 0.5 0.2 0.9", "bad annotation"),
        ("Gun 0.5 0.5 0.5 0.2", "bad annotation"),
        ("1 0.5 0.5 nan 0.2", "bad annotation"),
        ("1 0.5 0.5 0 0.2", "bad annotation"),
        ("1 20 15 10 10", "outside the image"),
        ("1 0.5 0.5 0.5 0.2 nan 0.4", "bad annotation"),
    ],
)
def test_what_is_wrong_with_a_line_is_counted(root: Path, line: str, kind: str) -> None:
    label(root, line)
    assert read(root)[1] == {kind: 1}


def test_a_label_without_image_is_counted(root: Path) -> None:
    write(root / "labels" / "train" / "b.txt", "")
    assert read(root)[1] == {"annotation without image": 1}


@pytest.mark.parametrize(
    "text",
    [
        "names: ['a b', \"c # d\", e-f]",
        "path: x\nnames: [a b,  # the first\n  'c # d',\n  e-f\n]\nnc: 3",
        "names:\n- a b\n- 'c # d'  # the second\n- e-f\nnc: 3",
        "names:  # by number\n\n  0: a b\n  1: 'c # d'\n  2: e-f\n\nroboflow:\n  3: no",
        "names: {0: a b, 1: 'c # d', 2: e-f}",
        "names:\n  2: e-f\n  1: \"c # d\"\n  0: 'a b'\n",
    ],
)
def test_names_are_read_in_every_usual_form(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "data.yaml", text)
    assert class_names([tmp_path / "none.yaml", file]) == {0: "a b", 1: "c # d", 2: "e-f"}


def test_a_file_without_names_leaves_the_next_to_name_them(tmp_path: Path) -> None:
    places = [write(tmp_path / "a.yaml", "nc: 2\n"), write(tmp_path / "classes.txt", "a\nb c\n")]
    assert class_names(places) == {0: "a", 1: "b c"}
