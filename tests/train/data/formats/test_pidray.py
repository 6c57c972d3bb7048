"""PIDray v1 and v2: splits, names, and the traps of its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apsam_train.data.formats import open_dataset
from apsam_train.errors import DatasetError
from tests.train.data.formats.writers_masks import (
    categories_of,
    coco,
    outlined,
    problems,
    recognised,
    samples,
    square_mask,
    write_json,
    write_mac_leftover,
    write_picture,
)

NAMES = (
    *("Baton", "Pliers", "Hammer", "Powerbank", "Scissors", "Wrench", "Gun", "Bullet"),
    *("Sprayer", "HandCuffs", "Knife", "Lighter"),
)
V1 = {
    "xray_train": ("train", "xray_00000.png"),
    "xray_test_easy": ("easy", "xray_easy00000.png"),
    "xray_test_hard": ("hard", "xray_hard00000.png"),
    "xray_test_hidden": ("hidden", "xray_hidden00000.png"),
}
V1_SAMPLES = [
    "test/easy/xray_easy00000.png",
    "test/hard/xray_hard00000.png",
    "test/hidden/xray_hidden00000.png",
    "train/xray_00000.png",
]


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """As unpacked: the folder twice, leftovers of macOS in it; every file counts images from 0."""
    home = tmp_path / "pidray" / "pidray"
    for name, (folder, image) in V1.items():
        file = home / "annotations" / f"{name}.json"
        write_json(file, coco([image], [outlined(0, "HandCuffs"), outlined(0, "Gun")], NAMES))
        write_mac_leftover(file)
        write_mac_leftover(write_picture(home / folder / image))
    return tmp_path / "pidray"


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    home = tmp_path / "pidray2"
    listed = {
        "train": ["xray_00000.png", "xray_00001.png"],
        "test": ["xray_easy00000.png", "xray_hard00000.png", "xray_hidden00000.png"],
    }
    for name, images in listed.items():
        write_json(home / "annotations" / f"{name}.json", coco(images, [outlined(0, "Gun")], NAMES))
        for image in images:
            write_picture(home / "PIDray" / name / image)
    return home


@pytest.mark.parametrize("nested", [True, False])
def test_v1_is_recognised_whether_its_folder_is_there_once_or_twice(v1: Path, nested: bool) -> None:
    root = v1 if nested else v1 / "pidray"
    assert recognised(root) == ["pidray", "pidray"]
    assert sorted(samples(root)) == V1_SAMPLES


def test_v1_keeps_its_splits(v1: Path) -> None:
    dataset = open_dataset(v1)
    assert dataset.splits == ["test/easy", "test/hard", "test/hidden", "train"]
    assert len(dataset.of_split("test")) == 3


def test_image_ids_that_restart_in_every_file_keep_their_own_objects(v1: Path) -> None:
    file = v1 / "pidray" / "annotations" / "xray_test_hard.json"
    write_json(file, coco(["xray_hard00000.png"], [outlined(0, "Lighter")], NAMES))
    assert categories_of(samples(v1)[V1_SAMPLES[1]]) == ["Lighter"]
    assert categories_of(samples(v1)[V1_SAMPLES[3]]) == ["HandCuffs", "Gun"]


def test_a_mask_is_the_polygons_and_not_the_constant_area(v1: Path) -> None:
    for instance in samples(v1)[V1_SAMPLES[0]].instances:
        assert np.array_equal(instance.mask, square_mask())


def test_names_become_those_of_the_thirty(v1: Path) -> None:
    mapping = open_dataset(v1).categories_in_xseg
    assert mapping["HandCuffs"] == "Handcuffs"
    assert "Knife" not in mapping


@pytest.mark.parametrize("beside", [True, False])
def test_v2_is_recognised_with_images_beside_the_annotations_or_in_a_folder(
    v2: Path, beside: bool
) -> None:
    if beside:
        for name in ("train", "test"):
            (v2 / "PIDray" / name).rename(v2 / name)
    assert recognised(v2) == ["pidray", "pidray"]
    assert len(samples(v2)) == 5


def test_v2_tells_the_parts_of_its_test_set_by_file_names(v2: Path) -> None:
    dataset = open_dataset(v2)
    assert dataset.splits == ["test/easy", "test/hard", "test/hidden", "train"]
    assert list(samples(v2, "test/hard")) == ["test/hard/xray_hard00000.png"]


def test_v2_has_bags_without_contraband(v2: Path) -> None:
    found = samples(v2)
    assert categories_of(found["train/xray_00000.png"]) == ["Gun"]
    assert categories_of(found["train/xray_00001.png"]) == []


def test_an_image_listed_with_another_suffix_is_found(v1: Path) -> None:
    file = v1 / "pidray" / "annotations" / "xray_train.json"
    file.write_text(file.read_text().replace("xray_00000.png", "xray_00000.jpg"))
    assert categories_of(samples(v1)["train/xray_00000.jpg"]) == ["HandCuffs", "Gun"]


@pytest.mark.parametrize(
    ("image", "kind"),
    [("xray_hard00000.png", "annotation without image"), ("other.png", "image without annotation")],
)
def test_an_image_or_an_annotation_alone_is_counted(v1: Path, image: str, kind: str) -> None:
    hard = v1 / "pidray" / "hard"
    if kind == "annotation without image":
        (hard / image).unlink()
    else:
        write_picture(hard / image)
    assert problems(v1)[1] == {kind: 1}
    with pytest.raises(DatasetError, match=kind):
        problems(v1, strict=True)


def test_a_file_name_that_is_listed_twice_counts_once(v1: Path) -> None:
    file = v1 / "pidray" / "annotations" / "xray_train.json"
    write_json(file, coco(["xray_00000.png"] * 2, [outlined(0, "Gun")], NAMES))
    assert problems(v1) == ([V1_SAMPLES[3], *V1_SAMPLES[:3]], {"duplicate id": 1})


def test_a_picture_of_another_size_is_counted(v2: Path) -> None:
    write_picture(v2 / "PIDray" / "train" / "xray_00001.png", width=50)
    assert problems(v2)[1] == {"size differs from annotation": 1}


def test_a_file_of_a_split_that_is_cut_off_ends_the_reading(v1: Path) -> None:
    file = v1 / "pidray" / "annotations" / "xray_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()))[:200])
    with pytest.raises(DatasetError, match=r"xray_train\.json is not JSON"):
        open_dataset(v1)


def test_objects_can_be_read_under_their_names_of_table_7(v1: Path) -> None:
    source = open_dataset(v1)
    assert [one.category for one in source[0].instances] == ["HandCuffs", "Gun"]
    renamed = source.in_table_7().of_split("train")
    assert [one.category for one in renamed[0].instances] == ["Handcuffs", "Gun"]
    assert renamed.label_of("Handcuffs") == source.label_of("HandCuffs") > 0
