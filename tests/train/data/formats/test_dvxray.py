"""DvXray: two views of a bag, one file for both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apsam_train.data.formats import recognise
from tests.train.data.formats.small_files import boxes, fitting, read, splits, write, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for bag in ("P0001", "N0001"):
        for view in ("OL", "SD"):
            write_image(tmp_path / "DvXray" / f"{bag}_{view}.png")
    write(tmp_path / "DvXray" / "N0001.json", json.dumps({"objects": "None"}))
    describe(tmp_path, [{"label": "Gun", "bbox_ol": [1, 2, 9, 8], "bbox_sd": [3, 4, 7, 9]}])
    return tmp_path


def describe(root: Path, objects: object) -> None:
    write(root / "DvXray" / "P0001.json", json.dumps({"objects": objects}))


def test_it_is_recognised_and_nothing_else_claims_it(root: Path) -> None:
    assert recognise(root) == recognise(root / "DvXray") == "dvxray"
    assert fitting(root) == ["dvxray"]


def test_the_string_none_stands_for_no_objects(root: Path) -> None:
    samples, problems = read(root)
    assert boxes(samples["N0001_OL.png"]) == []
    assert not problems


def test_both_views_are_one_bag(root: Path) -> None:
    samples, _ = read(root)
    assert {n: s.bag for n, s in samples.items()} == {
        "N0001_OL.png": "N0001",
        "N0001_SD.png": "N0001",
        "P0001_OL.png": "P0001",
        "P0001_SD.png": "P0001",
    }


@pytest.mark.parametrize(
    "record",
    [
        {"bbox_ol": [1, 2, 9, 8], "bbox_sd": [3, 4, 7, 9]},
        {"OL": [1, 2, 9, 8], "SD": [3, 4, 7, 9]},
        {"ol_bb": ["1", "2", "9", "8"], "sd_bb": ["3", "4", "7", "9"]},
        {"bboxOL": [1, 2, 9, 8], "bboxSD": [3, 4, 7, 9]},
        {"bbox": {"OL": [1, 2, 9, 8], "SD": [3, 4, 7, 9]}},
        {"color_sd": [3, 4, 7, 9], "polygon_ol": [1, 2, 9, 8]},
    ],
    ids=lambda record: "-".join(record),
)
def test_a_box_is_found_under_any_key_that_names_its_view(
    root: Path, record: dict[str, object]
) -> None:
    describe(root, [{"label": "Gun", **record}])
    samples, problems = read(root)
    assert boxes(samples["P0001_OL.png"]) == [("Gun", 1, 2, 9, 8)]
    assert boxes(samples["P0001_SD.png"]) == [("Gun", 3, 4, 7, 9)]
    assert not problems


@pytest.mark.parametrize("nothing", [{}, {"sd": None}, {"sd": "None"}, {"sd": []}])
def test_an_object_may_be_hidden_from_one_view(root: Path, nothing: dict[str, object]) -> None:
    describe(root, [{"label": "Gun", "ol": [1, 2, 9, 8], **nothing}])
    samples, problems = read(root)
    assert len(boxes(samples["P0001_OL.png"])) == 1
    assert boxes(samples["P0001_SD.png"]) == []
    assert not problems


@pytest.mark.parametrize(
    ("record", "num_problems"),
    [
        ({"label": "Gun"}, 2),
        ({"label": "Gun", "where": [1, 2, 9, 8]}, 2),
        ({"ol": [1, 2, 9, 8], "sd": [1, 2, 9, 8]}, 2),
        ("Gun", 2),
        ({"label": "Gun", "ol": [1, 2, 9], "sd": []}, 1),
        ({"label": "Gun", "ol": [10, 20, 9, 8], "sd": []}, 1),
    ],
)
def test_a_record_whose_box_cannot_be_told_is_counted(
    root: Path, record: object, num_problems: int
) -> None:
    describe(root, [record])
    samples, problems = read(root)
    assert boxes(samples["P0001_OL.png"]) == []
    assert problems == {"bad annotation": num_problems}


@pytest.mark.parametrize("text", ["{}", "[]", '{"objects": 3}', "{"])
def test_a_file_without_objects_costs_both_views(root: Path, text: str) -> None:
    write(root / "DvXray" / "P0001.json", text)
    samples, problems = read(root)
    assert sorted(samples) == ["N0001_OL.png", "N0001_SD.png"]
    assert problems == {"bad annotation": 2}


def test_what_has_no_counterpart_is_counted(root: Path) -> None:
    (root / "DvXray" / "P0001_SD.png").unlink()
    (root / "DvXray" / "N0001.json").unlink()
    samples, problems = read(root)
    assert list(samples) == ["P0001_OL.png"]
    assert problems == {"image without annotation": 2, "annotation without image": 1}


def test_lists_beside_the_data_are_its_splits(root: Path) -> None:
    assert set(splits(read(root)[0]).values()) == {""}
    write(root / "split" / "train.txt", "P0001\n")
    write(root / "split" / "test.txt", "N0001\n")
    assert splits(read(root)[0])["N0001_SD.png"] == "test"
