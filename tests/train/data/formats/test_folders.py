"""Folders of images and binary masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_train.data.formats import open_dataset
from apsam_train.errors import DatasetError
from tests.train.data.formats.writers_masks import (
    HEIGHT,
    WIDTH,
    categories_of,
    problems,
    recognised,
    samples,
    square_mask,
    write_json,
    write_mac_leftover,
    write_picture,
    write_pixels,
)


def black() -> NDArray[np.uint8]:
    return np.zeros((HEIGHT, WIDTH), np.uint8)


def two_objects() -> NDArray[np.uint8]:
    """The square, and a bar below it whose halves touch at a corner."""
    pixels = black()
    pixels[square_mask()] = 255
    pixels[20:24, 5:15] = 255
    pixels[24:28, 15:25] = 255
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "xseg"
    for name in ("a", "b"):
        write_mac_leftover(write_picture(folder / "images" / f"{name}.jpg"))
        write_mac_leftover(write_pixels(folder / "masks" / f"{name}.png", two_objects()))
    return folder


def test_it_is_recognised_and_suffixes_may_differ(root: Path) -> None:
    assert recognised(root) == ["folders"]
    assert list(samples(root)) == ["images/a.jpg", "images/b.jpg"]


def test_each_connected_part_is_an_instance_and_corners_connect(root: Path) -> None:
    sample = samples(root)["images/a.jpg"]
    assert categories_of(sample) == ["contraband", "contraband"]
    assert np.array_equal(sample.instances[0].mask, square_mask())
    assert sample.instances[1].mask.sum() == 80


def test_parts_of_fewer_than_16_pixels_are_left_out_and_told(root: Path) -> None:
    pixels = two_objects()
    pixels[2:5, 30:35] = 255
    write_pixels(root / "masks" / "a.png", pixels)
    assert problems(root) == (["images/a.jpg", "images/b.jpg"], {"empty mask": 1})
    assert len(open_dataset(root)[0].instances) == 2
    pixels[5, 30] = 255
    write_pixels(root / "masks" / "a.png", pixels)
    assert len(samples(root)["images/a.jpg"].instances) == 3


def test_a_numbered_mask_is_one_instance_in_however_many_parts(root: Path) -> None:
    square = black()
    square[square_mask()] = 255
    (root / "masks" / "a.png").unlink()
    write_pixels(root / "masks" / "a_0.png", two_objects())
    write_pixels(root / "masks" / "a_1.png", square)
    sizes = [instance.mask.sum() for instance in samples(root)["images/a.jpg"].instances]
    assert sizes == [180, 100]


def test_a_number_that_is_part_of_the_images_own_name_is_none(root: Path) -> None:
    write_picture(root / "images" / "a_0.jpg")
    write_pixels(root / "masks" / "a_0.png", two_objects())
    assert [len(sample.instances) for sample in samples(root).values()] == [2, 2, 2]


@pytest.mark.parametrize("value", [1, 128, 255])
def test_any_value_marks_an_object(root: Path, value: int) -> None:
    write_pixels(root / "masks" / "a.png", np.minimum(two_objects(), np.uint8(value)))
    assert np.array_equal(samples(root)["images/a.jpg"].instances[0].mask, square_mask())


def test_the_noise_of_a_jpeg_marks_nothing(root: Path) -> None:
    (root / "masks" / "a.png").unlink()
    write_pixels(root / "masks" / "a.jpg", two_objects())
    sample = samples(root)["images/a.jpg"]
    assert np.array_equal(sample.instances[0].mask, square_mask())
    assert len(sample.instances) == 2


def test_a_black_mask_is_a_bag_without_contraband(root: Path) -> None:
    write_pixels(root / "masks" / "a.png", black())
    assert categories_of(samples(root)["images/a.jpg"]) == []


def test_a_mask_of_classes_is_refused(root: Path) -> None:
    pixels = two_objects()
    pixels[square_mask()] = 2
    pixels[20:, :] = np.minimum(pixels[20:, :], 4)
    write_pixels(root / "masks" / "a.png", pixels)
    assert problems(root) == (["images/b.jpg"], {"bad annotation": 1})
    with pytest.raises(DatasetError, match=r"has the values \[0, 2, 4\] .* a binary mask has 0"):
        problems(root, strict=True)


@pytest.mark.parametrize(
    ("damage", "kind"), [("size", "size differs from annotation"), ("bytes", "bad annotation")]
)
def test_a_mask_that_does_not_fit_or_is_cut_off_costs_one_sample(
    root: Path, damage: str, kind: str
) -> None:
    file = root / "masks" / "a.png"
    if damage == "size":
        write_pixels(file, two_objects()[:, :30])
    else:
        file.write_bytes(file.read_bytes()[:50])
    assert problems(root) == (["images/b.jpg"], {kind: 1})
    with pytest.raises(DatasetError, match=r"a\.png"):
        problems(root, strict=True)


def test_an_image_or_a_mask_alone_is_counted(root: Path) -> None:
    write_picture(root / "images" / "c.jpg")
    write_pixels(root / "masks" / "d_0.png", two_objects())
    assert problems(root) == (
        ["images/a.jpg", "images/b.jpg"],
        {"image without annotation": 1, "annotation without image": 1},
    )


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{}/images", "{}/masks"),
        ("images/{}", "masks/{}"),
        ("{}/imgs", "{}/mask"),
        ("data/{}/image", "data/{}/mask"),
    ],
)
def test_splits_are_folders_above_or_inside(tmp_path: Path, images: str, masks: str) -> None:
    for split in ("train", "val", "test"):
        write_picture(tmp_path / images.format(split) / "a.png")
        write_pixels(tmp_path / masks.format(split) / "a.png", two_objects())
    assert recognised(tmp_path) == ["folders"]
    assert open_dataset(tmp_path).splits == ["test", "train", "val"]
    assert list(samples(tmp_path, "val")) == [f"{images.format('val')}/a.png"]


def test_the_only_split_there_is_read_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "images" / "a.png")
    write_pixels(tmp_path / "train" / "masks" / "a.png", two_objects())
    assert [(name, s.split) for name, s in samples(tmp_path).items()] == [
        ("train/images/a.png", "train")
    ]


def test_the_folder_names_of_voc_serve_but_its_annotations_come_first(root: Path) -> None:
    (root / "images").rename(root / "JPEGImages")
    (root / "masks").rename(root / "SegmentationClass")
    assert recognised(root) == ["folders"]
    write_json(root / "annotations.json", {"images": [], "annotations": [], "categories": []})
    assert recognised(root) == ["coco"]
