"""PIXray in its own form and as COCO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from apsam_train.data.formats import open_dataset
from apsam_train.errors import DatasetError
from tests.train.data.formats.writers_masks import (
    SQUARE,
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

ORIGINAL = (
    *("Gun", "Knife", "Wrench", "Pliers", "Scissors", "Lighter", "Battery", "Bat", "Razor_blade"),
    *("Saw_blade", "Fireworks", "Hammer", "Screwdriver", "Dart", "Pressure_vessel"),
)


@pytest.fixture
def own_form(tmp_path: Path) -> Path:
    root = tmp_path / "PIXray"
    for folder, names in (("train_set", ("105409170", "105409171")), ("test_set", ("105409172",))):
        for name in names:
            image = write_picture(root / folder / f"{name}.png")
            objects = [
                {"label": "Pressure_vessel", "polygon": SQUARE},
                {"label": "Gun", "polygon": [[20, 20], [30, 20], [30, 25]]},
            ]
            write_json(image.with_suffix(".json"), {"objects": objects})
            write_mac_leftover(image)
            write_mac_leftover(image.with_suffix(".json"))
    return root


def write_coco(root: Path, order: Sequence[str], place: str) -> Path:
    for split in ("train", "test"):
        image = write_picture(root / split / f"{split}1.png")
        document = coco([image.name], [outlined(0, "Gun"), outlined(0, "Dart")], order)
        write_json(root / place.format(split), document)
    return root


def test_its_own_form_is_recognised_and_keeps_its_splits(own_form: Path) -> None:
    assert recognised(own_form) == ["pixray", "pixray"]
    assert open_dataset(own_form).splits == ["test", "train"]
    assert list(samples(own_form, "train")) == [
        "train_set/105409170.png",
        "train_set/105409171.png",
    ]


def test_a_polygon_of_points_is_a_mask(own_form: Path) -> None:
    sample = samples(own_form)["test_set/105409172.png"]
    assert categories_of(sample) == ["Pressure_vessel", "Gun"]
    assert np.array_equal(sample.instances[0].mask, square_mask())


def test_files_without_their_other_half_are_counted(own_form: Path) -> None:
    (own_form / "train_set" / "105409170.json").unlink()
    (own_form / "test_set" / "105409172.png").unlink()
    names, counts = problems(own_form)
    assert names == ["train_set/105409171.png"]
    assert counts == {"image without annotation": 1, "annotation without image": 1}


@pytest.mark.parametrize(
    ("text", "num_usable"),
    [
        ('{"objects": [{"label": "Gun", "poly', 2),
        ('{"shapes": []}', 2),
        ('{"objects": [{"label": "Gun"}]}', 3),
        ('{"objects": [{"label": "Gun", "polygon": [[1, 2], [3]]}]}', 3),
        ('{"objects": [{"label": "Gun", "polygon": [[1, 2], [3, 4]]}]}', 3),
    ],
    ids=["cut off", "no objects", "no polygon", "half a point", "two points"],
)
def test_a_corrupt_annotation_costs_what_it_describes(
    own_form: Path, text: str, num_usable: int
) -> None:
    (own_form / "train_set" / "105409170.json").write_text(text)
    names, counts = problems(own_form)
    assert (len(names), counts) == (num_usable, {"bad annotation": 1})
    with pytest.raises(DatasetError, match="bad annotation"):
        problems(own_form, strict=True)


@pytest.mark.parametrize("place", ["annotations/pixray_{}.json", "annotations/{}.json", "{}.json"])
@pytest.mark.parametrize(
    "order",
    [ORIGINAL, sorted(ORIGINAL), ORIGINAL[::-1]],
    ids=["original", "alphabetical", "neither"],
)
def test_names_come_from_the_files_own_list_whatever_its_order(
    tmp_path: Path, order: Sequence[str], place: str
) -> None:
    root = write_coco(tmp_path / "pixray", order, place)
    assert recognised(root) == ["pixray", "pixray"]
    found = samples(root)
    assert {name: categories_of(sample) for name, sample in found.items()} == {
        "train/train1.png": ["Gun", "Dart"],
        "test/test1.png": ["Gun", "Dart"],
    }
    assert np.array_equal(found["test/test1.png"].instances[0].mask, square_mask())


def test_a_picture_that_no_coco_file_lists_is_counted(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "pixray", ORIGINAL, "annotations/pixray_{}.json")
    write_picture(root / "test" / "test2.png")
    assert problems(root) == (
        ["test/test1.png", "train/train1.png"],
        {"image without annotation": 1},
    )
