"""CLCXray: COCO boxes of cutters and liquid containers."""

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

NAMES = (
    *("blade", "scissors", "knife", "dagger", "SwissArmyKnife", "PlasticBottle", "Cans"),
    *("VacuumCup", "GlassBottle", "CartonDrinks", "Tin", "SprayCans"),
)


def write(root: Path, annotations: str, images: str) -> Path:
    for split in ("train", "val", "test"):
        picture = write_picture(root / images.format(split) / f"{split}_1.jpg")
        document = coco([picture.name], [boxed(0, "SwissArmyKnife"), boxed(0, "SprayCans")], NAMES)
        write_mac_leftover(write_json(root / annotations.format(split), document))
        write_mac_leftover(picture)
    return root


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/{}.json", "images"),
        ("{}.json", "images/{}"),
        ("annotations/{}.json", "."),
    ],
)
def test_it_is_recognised_in_every_arrangement_and_keeps_its_splits(
    tmp_path: Path, annotations: str, images: str
) -> None:
    root = write(tmp_path / "data", annotations, images)
    assert recognised(root) == ["clcxray", "clcxray"]
    assert open_dataset(root).splits == ["test", "train", "val"]
    assert sorted(samples(root)) == ["test/test_1.jpg", "train/train_1.jpg", "val/val_1.jpg"]


def test_boxes_are_boxes_and_only_certain_names_are_of_the_thirty(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "annotations/{}.json", "{}")
    sample = samples(root, "val")["val/val_1.jpg"]
    assert categories_of(sample) == ["SwissArmyKnife", "SprayCans"]
    assert corners(sample) == [(5, 4, 15, 14)] * 2
    mapping = open_dataset(root).categories_in_xseg
    assert [mapping.get(name) for name in categories_of(sample)] == [None, "Pressure"]


def test_one_file_for_all_has_no_split(tmp_path: Path) -> None:
    write_picture(tmp_path / "images_clcxray" / "1.png")
    document = coco(["1.jpg"], [boxed(0, "Tin")], NAMES)
    write_json(tmp_path / "annotations" / "clcxray_coco.json", document)
    assert recognised(tmp_path) == ["clcxray", "clcxray"]
    assert [(name, sample.split) for name, sample in samples(tmp_path).items()] == [("1.jpg", "")]


def test_pictures_and_records_alone_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "annotations/{}.json", "{}")
    (root / "val" / "val_1.jpg").unlink()
    write_picture(root / "test" / "test_2.jpg")
    assert problems(root) == (
        ["test/test_1.jpg", "train/train_1.jpg"],
        {"annotation without image": 1, "image without annotation": 1},
    )
