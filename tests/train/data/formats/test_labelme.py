"""labelme files: shapes, and how an image is found."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError
from tests.train.data.formats.writers_masks import (
    HEIGHT,
    SQUARE,
    WIDTH,
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "labelled"
    for name, suffix in (("a", ".png"), ("b", ".jpg")):
        image = write_picture(folder / f"{name}{suffix}")
        file = image.with_suffix(".json")
        write_mac_leftover(write_json(file, labelme(polygon("Gun"), image="D:\\old\\zzz.jpeg")))
    return folder


def with_shapes(root: Path, *shapes: dict[str, Any], **others: object) -> Path:
    write_json(root / "a.json", labelme(*shapes, **others))
    return root


def test_it_is_recognised_as_labelme_alone(root: Path) -> None:
    assert recognised(root) == ["labelme"]


def test_an_image_is_the_one_beside_its_file_whatever_image_path_says(root: Path) -> None:
    assert list(samples(root)) == ["a.png", "b.jpg"]


@pytest.mark.parametrize("named", ["../pictures/c.png", "..\\pictures\\c.png"])
def test_without_one_beside_it_image_path_tells(root: Path, named: str) -> None:
    write_picture(root / "pictures" / "c.png")
    write_json(root / "train" / "c_done.json", labelme(polygon("Gun"), image=named))
    sample = samples(root)["train/c_done.png"]
    assert sample.split == "train"
    assert np.array_equal(sample.instances[0].mask, square_mask())


def test_a_rectangle_is_a_box_whatever_the_order_of_its_corners(root: Path) -> None:
    orders = ([[5, 4], [15, 14]], [[15, 14], [5, 4]], [[15, 4], [5, 14]], SQUARE)
    with_shapes(root, *(rectangle("Gun", points) for points in orders))
    assert corners(samples(root)["a.png"]) == [(5, 4, 15, 14)] * 4


def test_polygons_of_one_group_and_label_are_one_object(root: Path) -> None:
    apart = [[20, 20], [30, 20], [30, 25], [20, 25]]
    with_shapes(
        root,
        polygon("Gun", group_id=1),
        polygon("Gun", apart, group_id=1),
        polygon("Bullet", apart, group_id=1),
        polygon("Gun", apart, group_id=None),
    )
    sizes = [(i.category, int(i.mask.sum())) for i in samples(root)["a.png"].instances]
    assert sizes == [("Gun", 150), ("Bullet", 50), ("Gun", 50)]


def test_a_circle_is_a_disc(root: Path) -> None:
    circle = {"label": "Dart", "points": [[20, 15], [28, 15]], "shape_type": "circle"}
    mask = samples(with_shapes(root, circle))["a.png"].instances[0].mask
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    disc = (x - 20) ** 2 + (y - 15) ** 2 <= 64
    assert (mask ^ disc).sum() <= 0.05 * disc.sum()


def test_a_mask_lies_where_its_first_point_is(root: Path) -> None:
    crop = cv2.imencode(".png", np.full((10, 10), 1, np.uint8))[1].tobytes()
    shape = {"label": "Gun", "points": [[5, 4], [14, 13]], "shape_type": "mask"}
    shape["mask"] = base64.b64encode(crop).decode()
    found = samples(with_shapes(root, shape))["a.png"]
    assert np.array_equal(found.instances[0].mask, square_mask())
    log = ProblemLog()
    log.extend(open_dataset(with_shapes(root, shape | {"points": [[35, 4]]}))[0].problems)
    assert "leaves the image of (40, 30)" in log.summary()


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "Gun", "points": [[1, 2], [3, 4]], "shape_type": "line"},
        {"label": "Gun", "points": [], "shape_type": "rectangle"},
        {"label": "Gun", "points": [[1, 2]], "shape_type": "circle"},
        {"label": "Gun", "points": [[1, 2], [3, 4]], "shape_type": "polygon"},
        {"label": "Gun", "points": [[1, 2]], "shape_type": "mask", "mask": "AAAA"},
        {"points": SQUARE, "shape_type": "polygon"},
        "nothing",
    ],
    ids=["line", "no corners", "no edge", "two points", "no PNG", "no label", "no record"],
)
def test_a_shape_that_outlines_nothing_is_counted_and_the_others_stay(
    root: Path, shape: Any
) -> None:
    with_shapes(root, shape, polygon("Gun"))
    names, counts = problems(root)
    assert (len(names), counts) == (2, {"bad annotation": 1})
    assert len(open_dataset(root)[0].instances) == 1


@pytest.mark.parametrize(
    ("text", "detail"),
    [('{"shapes": [{"la', "is not JSON"), ('{"shapes": 3}', "has no list 'shapes'")],
)
def test_a_corrupt_file_costs_one_sample(root: Path, text: str, detail: str) -> None:
    (root / "a.json").write_text(text)
    assert problems(root) == (["b.jpg"], {"bad annotation": 1})
    with pytest.raises(DatasetError, match=detail):
        problems(root, strict=True)


def test_outlines_of_a_picture_of_another_size_are_not_used(root: Path) -> None:
    with_shapes(root, polygon("Gun"), imageWidth=80, imageHeight=60)
    assert problems(root) == (["b.jpg"], {"size differs from annotation": 1})
    with pytest.raises(DatasetError, match=r"a\.json is for an image of 80 x 60 .* has 40 x 30"):
        problems(root, strict=True)


def test_pictures_and_files_alone_are_counted_and_other_json_files_passed_over(root: Path) -> None:
    write_picture(root / "c.png")
    write_json(root / "d.json", labelme(polygon("Gun"), image="gone.png"))
    write_json(root / "e.json", labelme(polygon("Gun"), image="b.jpg"))
    write_json(root / "settings.json", {"brush": 3})
    (root / "f.json").write_text('{"shapes": [')
    assert problems(root) == (
        ["a.png", "b.jpg"],
        {
            "annotation without image": 1,
            "bad annotation": 1,
            "duplicate id": 1,
            "image without annotation": 1,
        },
    )
