"""EDS: three scanners, a folder each."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import recognise
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image

VOC = (
    "<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax>"
    "<ymax>30</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for domain, stems in (("domain1", ("a.1", "b")), ("domain3", ("c",))):
        for stem in stems:
            write_image(tmp_path / domain / "images" / f"{stem}.jpg")
            write(tmp_path / domain / "labels" / f"{stem}.xml", VOC.format("drinkbottle"))
    write(tmp_path / "domain1" / "val.txt", "a.1\n")
    return tmp_path


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == "eds"
    assert fitting(root) == ["eds"]


def test_a_split_is_a_scanner_and_its_list(root: Path) -> None:
    samples, problems = read(root)
    assert splits(samples) == {
        "domain1/images/a.1.jpg": "domain1/val",
        "domain1/images/b.jpg": "domain1",
        "domain3/images/c.jpg": "domain3",
    }
    assert not problems
    assert len(read(root, split="domain1")[0]) == 2


def test_a_box_of_the_whole_image_fills_it(root: Path) -> None:
    assert boxes(read(root)[0]["domain1/images/b.jpg"]) == [("drinkbottle", 0, 0, 40, 30)]


def test_the_misspelt_class_is_known_in_any_letter_case(root: Path) -> None:
    text = VOC.format(" SmallElectronicEquipmen ")
    write(root / "domain1" / "labels" / "b.xml", text)
    samples, problems = read(root)
    assert samples["domain1/images/b.jpg"].boxes[0].category == "smallelectronicequipmen"
    assert not problems


def test_annotations_may_lie_in_a_folder_of_another_name(root: Path) -> None:
    (root / "domain3" / "labels").rename(root / "domain3" / "Annotations")
    assert len(boxes(read(root)[0]["domain3/images/c.jpg"])) == 1


def test_what_has_no_counterpart_is_counted(root: Path) -> None:
    (root / "domain1" / "images" / "b.jpg").unlink()
    (root / "domain3" / "labels" / "c.xml").unlink()
    samples, problems = read(root)
    assert list(samples) == ["domain1/images/a.1.jpg"]
    assert problems == {"annotation without image": 1, "image without annotation": 1}
