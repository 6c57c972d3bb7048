"""`apsam-train inspect`: counts, pictures, problems."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from apsam_train.cli import main
from apsam_train.data import inspection
from apsam_train.data.inspection import xseg_name

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(blocks_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(blocks_dataset, tmp_path / "data")
    return tmp_path / "data"


def run(folder: Path, *options: str) -> dict[str, Any]:
    out = folder.parent / "out"
    assert main(["inspect", str(folder), "--out", str(out), *options]) == 0
    report: dict[str, Any] = json.loads((out / "inspect.json").read_text())
    return report


def edit(folder: Path, change: Edit) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document))


def test_it_says_what_the_data_set_is_and_counts_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(folder)
    assert (report["title"], report["format"]) == ("COCO instances", "coco")
    assert (report["num_images"], report["num_bags"], report["num_read"]) == (8, 8, 8)
    assert report["splits"] == {"": 8}
    assert report["width"] == {"least": 64, "most": 64}
    assert report["height"] == {"least": 48, "most": 48}
    assert report["objects_per_image"] == {
        "least": 2,
        "most": 2,
        "mean": 2.0,
        "num_images_without": 0,
    }
    printed = capsys.readouterr().out
    assert "COCO instances (--format coco): 8 images" in printed
    assert "64 to 64 pixels wide, 48 to 48 high" in printed


def test_categories_are_given_their_names_in_table_7(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda d: d["categories"][0].update(name="Sword"))
    categories = {c.pop("name"): c for c in run(folder)["categories"]}
    counts = {"num_instances": 8, "num_boxes": 0, "num_images": 8}
    assert categories == {"Sword": {"xseg": None, **counts}, "Bullet": {"xseg": "Bullet", **counts}}
    assert "outside the thirty" in capsys.readouterr().out


def test_boxes_are_counted_apart_from_outlines(folder: Path) -> None:
    edit(folder, lambda d: d["annotations"][0].update(segmentation=[]))
    gun = next(c for c in run(folder)["categories"] if c["name"] == "Gun")
    assert (gun["num_instances"], gun["num_boxes"], gun["num_images"]) == (7, 1, 8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Gun", "Gun"),
        ("Batteries", "Batteries (superclass)"),
        ("Scissors", "Scissors"),
        ("Knife", None),
    ],
)
def test_a_superclass_is_called_one(name: str, expected: str | None) -> None:
    assert xseg_name(name) == expected


def test_problems_are_printed_by_kind_with_their_first_example(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "000003.png").write_bytes(b"no image")
    edit(folder, lambda d: d["annotations"][0].update(category_id=9))
    report = run(folder)
    assert report["problems"]["counts"] == {"unknown category": 1, "unreadable image": 1}
    assert report["num_read"] == 7
    printed = capsys.readouterr().out
    assert "1 x unreadable image, first: images/000003.png: " in printed
    assert "1 x unknown category, first: images/000000.png: " in printed


def test_strict_stops_at_the_first_problem(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda d: d["annotations"][0].update(category_id=9))
    assert main(["inspect", str(folder), "--out", str(folder.parent / "out"), "--strict"]) == 2
    assert "unknown category: images/000000.png" in capsys.readouterr().err
    assert not (folder.parent / "out").exists()


def test_the_contact_sheet_shows_pictures_spread_over_the_data_set(folder: Path) -> None:
    run(folder, "--num", "4")
    drawn = cv2.imread(str(folder.parent / "out" / "contact_sheet.jpg"))
    assert drawn is not None
    assert abs(drawn.shape[1] - 1600) <= 4
    run(folder, "--num", "8")
    taller = cv2.imread(str(folder.parent / "out" / "contact_sheet.jpg"))
    assert taller is not None
    assert taller.shape[0] > drawn.shape[0]


def test_no_pictures_are_drawn_when_none_are_wanted(folder: Path) -> None:
    run(folder, "--no-pictures")
    assert [file.name for file in (folder.parent / "out").iterdir()] == ["inspect.json"]


def test_quick_reads_every_kth_image_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inspection, "MAX_QUICK_SAMPLES", 3)
    report = run(folder, "--quick", "--num", "2")
    assert (report["num_images"], report["every"], report["num_read"]) == (8, 3, 3)
    assert "of them 1 in 3 was read" in capsys.readouterr().out


def test_a_split_is_looked_at_alone(folder: Path) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations").mkdir()
    for name, kept in (("train", slice(0, 6)), ("val", slice(6, 8))):
        part = document | {"images": document["images"][kept], "annotations": []}
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(part))
    (folder / "annotations.json").unlink()
    report = run(folder, "--split", "val")
    assert report["splits"] == {"val": 2}
    assert report["objects_per_image"]["num_images_without"] == 2


def test_fewer_than_one_picture_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(folder), "--num", "0"]) == 2
    assert "--num 0 must be at least 1" in capsys.readouterr().err
