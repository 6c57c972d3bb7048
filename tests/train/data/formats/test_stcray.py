"""STCray: labelme files by class folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsam_train.data.formats import open_dataset
from apsam_train.errors import DatasetError
from tests.train.data.formats.writers_masks import (
    categories_of,
    corners,
    labelme,
    polygon,
    problems,
    recognised,
    rectangle,
    samples,
    square_mask,
    write_json,
    write_mac_leftover,
    write_picture,
)

GUN, BATTERY, NONE = "Class 02_Gun", "Class 10_Battery", "Class 22_Non Threat"
TRAIN_GUN = f"train/{GUN}/xray_1.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shapes = {
        GUN: [rectangle("Gun", [[15, 14], [5, 4]]), polygon("Knife")],
        BATTERY: [rectangle("Battery", [[5, 4], [15, 14]])],
    }
    for name in ("STCray_TrainSet", "STCray_TestSet"):
        for folder in (GUN, BATTERY, NONE):
            image = write_picture(tmp_path / name / "Images" / folder / "xray_1.jpg")
            write_mac_leftover(image)
            if folder in shapes:
                file = tmp_path / name / "Json_BB" / folder / "xray_1.json"
                write_mac_leftover(write_json(file, labelme(*shapes[folder], image="C:\\a\\b.jpg")))
    return tmp_path


def test_it_is_recognised_and_its_sets_are_its_splits(root: Path) -> None:
    assert recognised(root) == ["stcray", "stcray"]
    assert open_dataset(root).splits == ["test", "train"]
    folders = (GUN, BATTERY, NONE)
    assert sorted(samples(root, "train")) == [f"train/{name}/xray_1.jpg" for name in folders]


def test_one_set_alone_is_recognised_and_keeps_its_split(root: Path) -> None:
    assert recognised(root / "STCray_TestSet") == ["stcray", "stcray"]
    assert open_dataset(root / "STCray_TestSet").splits == ["test"]


def test_a_set_whose_folder_is_there_twice_is_read(root: Path) -> None:
    (root / "STCray_TrainSet").rename(root / "inner")
    (root / "STCray_TrainSet").mkdir()
    (root / "inner").rename(root / "STCray_TrainSet" / "STCray_TrainSet")
    assert recognised(root) == ["stcray", "stcray"]
    assert len(samples(root, "train")) == 3


def test_rectangles_are_boxes_in_any_order_of_corners_and_polygons_are_masks(root: Path) -> None:
    sample = samples(root)[TRAIN_GUN]
    assert categories_of(sample) == ["Knife", "Gun"]
    assert corners(sample) == [(5, 4, 15, 14)]
    assert np.array_equal(sample.instances[0].mask, square_mask())


def test_images_of_the_folder_without_threats_need_no_annotation(root: Path) -> None:
    assert categories_of(samples(root)[f"test/{NONE}/xray_1.jpg"]) == []


def test_elsewhere_an_image_or_an_annotation_alone_is_counted(root: Path) -> None:
    (root / "STCray_TrainSet" / "Json_BB" / GUN / "xray_1.json").unlink()
    (root / "STCray_TestSet" / "Images" / BATTERY / "xray_1.jpg").unlink()
    names, counts = problems(root)
    assert len(names) == 4
    assert counts == {"image without annotation": 1, "annotation without image": 1}


@pytest.mark.parametrize(
    "text", ['{"shapes": [{"label"', '{"version": "5"}'], ids=["cut off", "no shapes"]
)
def test_a_corrupt_annotation_costs_one_sample(root: Path, text: str) -> None:
    (root / "STCray_TrainSet" / "Json_BB" / GUN / "xray_1.json").write_text(text)
    names, counts = problems(root)
    assert len(names) == 5
    assert TRAIN_GUN not in names
    assert counts == {"bad annotation": 1}
    with pytest.raises(DatasetError, match="bad annotation"):
        problems(root, strict=True)
