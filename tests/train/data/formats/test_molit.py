"""MOLIT: YOLO's form with nine views of a bag."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import recognise
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image

SCAN = "E3S690_20220816_012879_M_Pistol_001-002_Solid fuel_130-002"
OTHER = "E3S690_20221013_02851417_M_Hard disk_208-003_LAGs products(Tube-D)_123-293"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, stem in (("train", f"{SCAN}_1"), ("train", f"{SCAN}_7"), ("val", f"{OTHER}_9")):
        write_image(tmp_path / "data" / "images" / part / f"{stem}.png")
        label = tmp_path / "data" / "labels" / part / f"{stem}.txt"
        write(label, "1 0.5 0.5 0.5 0.2\n0 0.5 0.5 0.1 0.1\n")
    names = "path: ./\nnc : 3\nnames: ['None', 'Gun', 'LAGs product(Plastic-A)']\n"
    write(tmp_path / "configs" / "config.yaml", names)
    return tmp_path


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == recognise(root / "data") == "molit"
    assert fitting(root) == ["molit"]


def test_all_views_of_a_scan_are_one_bag(root: Path) -> None:
    samples, _ = read(root)
    assert {n.rpartition("/")[2][-5]: s.bag for n, s in samples.items()} == {
        "1": SCAN,
        "7": SCAN,
        "9": OTHER,
    }


def test_splits_are_its_folders(root: Path) -> None:
    assert set(splits(read(root)[0]).values()) == {"train", "val"}


def test_class_0_is_no_object_and_names_come_from_its_configuration(root: Path) -> None:
    samples, problems = read(root)
    assert boxes(samples[f"images/train/{SCAN}_1.png"]) == [("Gun", 10, 12, 30, 18)]
    assert not problems


def test_names_are_found_from_inside_the_data_folder_too(root: Path) -> None:
    samples, _ = read(root / "data")
    assert boxes(samples[f"images/train/{SCAN}_1.png"])[0][0] == "Gun"


def test_without_configuration_classes_go_by_number(root: Path) -> None:
    (root / "configs" / "config.yaml").unlink()
    names = [name for name, *_ in boxes(read(root)[0][f"images/train/{SCAN}_1.png"])]
    assert names == ["class 1"]
