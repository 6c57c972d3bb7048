"""HiXray: OPIXray's layout with other classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import load, recognise
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, stem in (("train", "P00001"), ("test", "P40001")):
        write_image(tmp_path / part / f"{part}_image" / f"{stem}.jpg")
        lines = f"{stem}.jpg Portable_Charger_1 5 6 15 26\n{stem}.jpg Water 20 3 39 12\n"
        write(tmp_path / part / f"{part}_annotation" / f"{stem}.txt", lines)
        write(tmp_path / part / f"{part}_name.txt", f"{stem}.jpg\n")
    return tmp_path


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == "hixray"
    assert fitting(root) == ["hixray"]


def test_without_lists_its_classes_tell_it_from_opixray(root: Path) -> None:
    for file in root.glob("t*/*.txt"):
        file.unlink()
    assert fitting(root) == ["hixray"]


def test_its_boxes_and_splits_are_read(root: Path) -> None:
    samples, problems = read(root)
    assert splits(samples) == {
        "train/train_image/P00001.jpg": "train",
        "test/test_image/P40001.jpg": "test",
    }
    assert boxes(samples["train/train_image/P00001.jpg"]) == [
        ("Portable_Charger_1", 5, 6, 15, 26),
        ("Water", 20, 3, 39, 12),
    ]
    assert not problems


def test_both_chargers_are_power_banks_and_water_is_some_liquid() -> None:
    named = load("hixray").CATEGORIES_IN_XSEG
    assert named["Portable_Charger_1"] == named["Portable_Charger_2"] == "Powerbank"
    assert named["Water"] == "Suspicious Liquid"
    assert "Tablet" not in named
