"""SIXray: positives with VOC boxes, negatives without files, sets inside one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.dataset import usable_samples
from apsam_train.data.formats import open_dataset, recognise
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image

HEADER = "name,Gun,Knife,Wrench,Pliers,Scissors\n"
NEGATIVE = "-1.0,-1.0,-1.0,-1.0,-1.0"
OBJECT = (
    "<object><name>{}</name><truncated>1</truncated><difficult>1</difficult><bndbox><xmin>6</xmin>"
    "<ymin>7</ymin><xmax>15</xmax><ymax>26</ymax></bndbox></object>"
)


def voc(*names: str) -> str:
    return f"<annotation>{''.join(OBJECT.format(name) for name in names)}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for stem in ("P00001", "P00002", "N0000001", "N0000002"):
        write_image(tmp_path / "JPEGImage" / f"{stem}.jpg")
    write(tmp_path / "Annotation" / "P00001.xml", voc("Gun"))
    write(tmp_path / "Annotation" / "P00002.xml", voc("Knife", "Pliers"))
    sets = tmp_path / "ImageSet"
    write(sets / "10" / "train.csv", f"{HEADER}P00001,1.0,-1.0,-1.0,-1.0,-1.0\n")
    write(sets / "10" / "test.csv", f"{HEADER}N0000001,{NEGATIVE}\n")
    large = f"{HEADER}N0000001,{NEGATIVE}\nN0000002,{NEGATIVE}\nP00002,-1,1,-1,1,-1\n"
    write(sets / "1000" / "train.csv", large)
    write(sets / "1000" / "test.csv", HEADER)
    return tmp_path


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == "sixray"
    assert fitting(root) == fitting(root / "ImageSet" / "10") == ["sixray"]


def test_a_negative_has_no_annotation_file_and_no_problem(root: Path) -> None:
    samples, problems = read(root)
    assert boxes(samples["N0000001.jpg"]) == []
    assert not problems


def test_pixels_are_counted_from_1_and_difficult_objects_are_kept(root: Path) -> None:
    assert boxes(read(root)[0]["P00001.jpg"]) == [("Gun", 5, 6, 15, 26)]


def test_a_positive_without_annotation_is_left_out_and_counted(root: Path) -> None:
    (root / "Annotation" / "P00002.xml").unlink()
    samples, problems = read(root)
    assert sorted(samples) == ["N0000001.jpg", "N0000002.jpg", "P00001.jpg"]
    assert problems == {"image without annotation": 1}


def test_splits_are_those_of_the_largest_set(root: Path) -> None:
    assert splits(read(root)[0]) == {
        "N0000001.jpg": "1000/train",
        "N0000002.jpg": "1000/train",
        "P00001.jpg": "",
        "P00002.jpg": "1000/train",
    }


def test_a_sets_folder_stands_for_that_set_alone(root: Path) -> None:
    samples, problems = read(root / "ImageSet" / "10")
    assert splits(samples) == {"N0000001.jpg": "10/test", "P00001.jpg": "10/train"}
    assert not problems


def test_the_set_of_the_published_code_names_its_splits_by_its_folder(root: Path) -> None:
    (root / "ImageSet" / "10").rename(root / "ImageSet" / "train_test_10-5")
    samples, _ = read(root / "ImageSet" / "train_test_10-5", split="train_test_10-5/train")
    assert list(samples) == ["P00001.jpg"]


def test_an_image_in_both_parts_of_a_set_counts_for_one(root: Path) -> None:
    write(root / "ImageSet" / "10" / "test.csv", f"{HEADER}P00001,{NEGATIVE}\n")
    samples, problems = read(root / "ImageSet" / "10")
    assert splits(samples) == {"P00001.jpg": "10/test"}
    assert problems == {"duplicate id": 1}


def test_hammers_are_dropped_as_the_data_set_does(root: Path) -> None:
    write(root / "Annotation" / "P00001.xml", voc("Hammer", "wrench"))
    samples, problems = read(root)
    assert [name for name, *_ in boxes(samples["P00001.jpg"])] == ["Wrench"]
    assert not problems


def test_a_name_that_is_no_class_is_kept_and_counted(root: Path) -> None:
    write(root / "Annotation" / "P00001.xml", voc("Sword"))
    samples, problems = read(root)
    assert [name for name, *_ in boxes(samples["P00001.jpg"])] == ["Sword"]
    assert problems == {"unknown category": 1}


def test_what_is_listed_or_annotated_but_not_there_is_counted(root: Path) -> None:
    write(root / "Annotation" / "P00009.xml", voc("Gun"))
    (root / "JPEGImage" / "N0000002.jpg").unlink()
    assert read(root)[1] == {"annotation without image": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>',
            "declares a document type or entities",
        ),
        ("<annotation>", "is not XML"),
        ("<svg/>", "starts with <svg>"),
    ],
)
def test_a_file_that_is_no_annotation_costs_its_image(root: Path, text: str, message: str) -> None:
    write(root / "Annotation" / "P00001.xml", text)
    samples, problems = read(root)
    assert "P00001.jpg" not in samples
    assert problems == {"bad annotation": 1}
    samples_of = usable_samples(open_dataset(root), ProblemLog(strict=True))
    with pytest.raises(DatasetError, match=message):
        list(samples_of)


def test_a_box_without_four_numbers_is_counted(root: Path) -> None:
    write(root / "Annotation" / "P00001.xml", voc("Gun").replace("<xmin>6</xmin>", "<xmin/>"))
    samples, problems = read(root)
    assert boxes(samples["P00001.jpg"]) == []
    assert problems == {"bad annotation": 1}
