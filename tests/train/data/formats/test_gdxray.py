"""GDXray: grey series with one text file each."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import recognise
from tests.train.data.formats.small_files import boxes, fitting, read, write, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for series, number in (("B0001", 1), ("B0001", 2), ("B0049", 1)):
        folder = tmp_path / "Baggages" / series
        write_image(folder / f"{series}_{number:04d}.png", grey=True)
    truth = "   2.0000000e+00   3.0e+00   1.2e+01   5.0e+00   2.5e+01\n\n"
    write(tmp_path / "Baggages" / "B0001" / "ground_truth.txt", truth)
    return tmp_path


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == recognise(root / "Baggages") == "gdxray"
    assert fitting(root) == ["gdxray"]


def test_a_grey_image_becomes_rgb(root: Path) -> None:
    assert read(root)[0]["B0001/B0001_0001.png"].image.shape == (30, 40, 3)


def test_columns_are_x1_x2_y1_y2_in_floats_counted_from_1(root: Path) -> None:
    samples, problems = read(root)
    assert boxes(samples["B0001/B0001_0002.png"]) == [("prohibited item", 2, 4, 12, 25)]
    assert boxes(samples["B0001/B0001_0001.png"]) == []
    assert not problems


def test_a_series_is_a_bag_and_there_are_no_splits(root: Path) -> None:
    samples, _ = read(root)
    assert [sample.bag for sample in samples.values()] == ["B0001", "B0001", "B0049"]
    assert {sample.split for sample in samples.values()} == {""}


def test_a_series_of_one_thing_names_it(root: Path) -> None:
    write(root / "Baggages" / "B0049" / "ground_truth.txt", "1 1 40 1 30\n")
    assert boxes(read(root)[0]["B0049/B0049_0001.png"]) == [("gun", 0, 0, 40, 30)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2 3 12 5", "bad annotation"),
        ("two 3 12 5 25", "bad annotation"),
        ("nan 3 12 5 25", "bad annotation"),
        ("2 12 3 5 25", "bad annotation"),
        ("7 3 12 5 25", "annotation without image"),
        ("2 3 45 5 25", "outside the image"),
    ],
)
def test_what_is_wrong_with_a_line_is_counted(root: Path, line: str, kind: str) -> None:
    write(root / "Baggages" / "B0001" / "ground_truth.txt", line)
    assert read(root)[1] == {kind: 1}


def test_other_images_of_a_series_are_not_read(root: Path) -> None:
    write_image(root / "Baggages" / "B0001" / "calibration.png")
    assert len(read(root)[0]) == 3
