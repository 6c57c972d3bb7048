"""COCO files: the forms of a mask, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsam_train.data.coco import CocoDataset
from apsam_train.errors import DatasetError

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(blocks_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(blocks_dataset, tmp_path / "data")
    return tmp_path / "data"


def edit(folder: Path, change: Edit) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document))


def test_a_sample_has_its_image_in_rgb_and_its_objects(folder: Path) -> None:
    sample = CocoDataset(folder)[0]
    assert sample.image.shape == (48, 64, 3)
    assert [instance.category for instance in sample.instances] == ["Gun", "Bullet"]
    assert sample.instances[1].mask.sum() == 400
    assert (sample.image[sample.instances[1].mask] == (200, 120, 40)).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        [[8, 8, 28, 8, 28, 28, 8, 28]],
        {"size": [48, 64], "counts": [8 * 48 + 8, *([20, 28] * 19), 20, 64 * 48 - 27 * 48 - 28]},
    ],
    ids=["polygon", "uncompressed RLE"],
)
def test_every_form_of_a_mask_is_read(folder: Path, segmentation: object) -> None:
    edit(folder, lambda d: d["annotations"][0].update(segmentation=segmentation))
    expected = np.zeros((48, 64), bool)
    expected[8:28, 8:28] = True
    assert np.array_equal(CocoDataset(folder)[0].instances[0].mask, expected)


def test_crowds_and_empty_masks_are_left_out(folder: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["annotations"][0]["iscrowd"] = 1
        empty = {"size": [48, 64], "counts": [48 * 64]}
        document["annotations"][1]["segmentation"] = empty

    edit(folder, change)
    assert CocoDataset(folder)[0].instances == ()


def read_all(folder: Path) -> None:
    dataset = CocoDataset(folder)
    for index in range(len(dataset)):
        dataset[index]


def drop(key: str) -> Edit:
    return lambda document: document.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("images"), "is no COCO file: it lacks 'images'"),
        (drop("annotations"), "is no COCO file: it lacks 'annotations'"),
        (lambda d: d.update(images=[]), "lists 0 images"),
        (lambda d: d["images"][0].update(width=65), "64 x 48 pixels, but .* says 65 x 48"),
        (lambda d: d["images"][0].update(file_name="x.png"), r"x\.png cannot be read"),
        (lambda d: d["annotations"][0].update(category_id=9), r"annotation 1 is unusable"),
        (lambda d: d["annotations"][0].pop("segmentation"), r"annotation 1 is unusable"),
        (
            lambda d: d["annotations"][0].update(segmentation={"size": [4, 4], "counts": [16]}),
            r"mask size \[4, 4\] differs from image size \[48, 64\]",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(folder: Path, change: Edit, message: str) -> None:
    edit(folder, change)
    with pytest.raises(DatasetError, match=message):
        read_all(folder)


def test_a_corrupt_image_is_named(folder: Path) -> None:
    file = folder / "images" / "000000.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"000000\.png cannot be read"):
        CocoDataset(folder)[0]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere cannot be read .*apsam-train synth"):
        CocoDataset(tmp_path / "nowhere")


def test_text_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(DatasetError, match=r"annotations\.json is not JSON"):
        CocoDataset(tmp_path)
