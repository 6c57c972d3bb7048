"""LDXray: two views of a bag."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.formats import open_dataset
from tests.train.data.formats.writers_masks import (
    boxed,
    categories_of,
    coco,
    corners,
    problems,
    recognised,
    samples,
    write_json,
    write_mac_leftover,
    write_picture,
)

NAMES = ("MP", "OL", "PC1", "TA", "GL", "PC2", "LA", "BL", "CO", "NL", "UM", "CG")


def write_views(home: Path) -> None:
    for split in ("train", "test"):
        for view in "AB":
            image = write_picture(home / f"{split}_{view}" / "000001.png")
            write_mac_leftover(image)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Only the first views are listed."""
    home = tmp_path / "LDXray" / "dual-view"
    write_views(home)
    for split in ("train", "test"):
        document = coco(["000001.png"], [boxed(0, "OL"), boxed(0, "PC2")], NAMES)
        write_mac_leftover(write_json(home / f"{split}.json", document))
    return home.parent


@pytest.mark.parametrize("inner", ["", "dual-view"])
def test_it_is_recognised_from_either_folder_and_keeps_its_splits(root: Path, inner: str) -> None:
    assert recognised(root / inner) == ["ldxray", "ldxray"]
    assert open_dataset(root / inner).splits == ["test", "train"]
    assert sorted(samples(root / inner)) == ["test_A/000001.png", "train_A/000001.png"]


def test_boxes_are_boxes_and_names_become_those_of_the_thirty(root: Path) -> None:
    sample = samples(root)["train_A/000001.png"]
    assert categories_of(sample) == ["OL", "PC2"]
    assert corners(sample) == [(5, 4, 15, 14)] * 2
    mapping = open_dataset(root).categories_in_xseg
    assert [mapping.get(name) for name in categories_of(sample)] == [
        "Suspicious Liquid",
        "Powerbank",
    ]


def test_views_that_no_file_lists_are_left_out_without_a_word(root: Path) -> None:
    assert problems(root) == (["test_A/000001.png", "train_A/000001.png"], {})


@pytest.mark.parametrize(
    "listed",
    [
        {"train.json": ["train_A/000001.png", "train_B/000001.png"]},
        {"train_A.json": ["000001.png"], "train_B.json": ["000001.png"]},
    ],
    ids=["by folder", "by file"],
)
def test_both_views_of_a_pair_are_one_bag(tmp_path: Path, listed: dict[str, list[str]]) -> None:
    root = tmp_path / "dual-view"
    write_views(root)
    for file, images in listed.items():
        write_json(root / file, coco(images, [boxed(0, "LA")], NAMES))
    found = samples(root)
    assert sorted(found) == ["train_A/000001.png", "train_B/000001.png"]
    assert {sample.bag for sample in found.values()} == {"train/000001"}
    assert {sample.split for sample in found.values()} == {"train"}


def test_views_whose_names_end_in_their_letter_are_one_bag(tmp_path: Path) -> None:
    root = tmp_path / "dual-view"
    images = [f"train_{view}/7_{view}.png" for view in "AB"]
    for image in images:
        write_picture(root / image)
    write_json(root / "train.json", coco(images, [boxed(0, "LA")], NAMES))
    assert {sample.bag for sample in samples(root).values()} == {"train/7"}


def test_the_same_number_in_train_and_test_is_not_the_same_bag(root: Path) -> None:
    assert len({sample.bag for sample in samples(root).values()}) == 2


def test_a_listed_view_that_is_not_there_and_an_unlisted_one_are_counted(root: Path) -> None:
    (root / "dual-view" / "test_A" / "000001.png").unlink()
    write_picture(root / "dual-view" / "train_A" / "000002.png")
    assert problems(root) == (
        ["train_A/000001.png"],
        {"annotation without image": 1, "image without annotation": 1},
    )
