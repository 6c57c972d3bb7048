"""COCO files: the forms of a mask, what is counted, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsam_train.data.dataset import usable_samples
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(blocks_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(blocks_dataset, tmp_path / "data")
    return tmp_path / "data"


def edit(folder: Path, change: Edit) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document))


def problems(folder: Path, *, strict: bool = False) -> tuple[int, dict[str, int]]:
    """(usable samples, problems by kind)."""
    log = ProblemLog(strict=strict)
    samples = list(usable_samples(open_dataset(folder, log=log), log))
    return len(samples), log.counts()


def test_a_sample_has_its_image_in_rgb_and_its_objects(folder: Path) -> None:
    sample = open_dataset(folder)[0]
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
    assert np.array_equal(open_dataset(folder)[0].instances[0].mask, expected)


def test_an_object_without_outline_is_a_box(folder: Path) -> None:
    edit(folder, lambda d: d["annotations"][0].update(segmentation=[], bbox=[1, 2, 30, 40]))
    sample = open_dataset(folder)[0]
    assert len(sample.instances) == 1
    box = sample.boxes[0].box
    assert (box.left, box.top, box.right, box.bottom) == (1, 2, 31, 42)


def test_crowds_are_left_out(folder: Path) -> None:
    edit(folder, lambda d: d["annotations"][0].update(iscrowd=1))
    assert len(open_dataset(folder)[0].instances) == 1


@pytest.mark.parametrize(
    ("change", "num_usable", "kind"),
    [
        (lambda d: d["images"][0].update(width=65), 7, "size differs from annotation"),
        (lambda d: d["images"][0].update(file_name="x.png"), 7, "annotation without image"),
        (lambda d: d["images"].append(d["images"][0]), 8, "duplicate id"),
        (lambda d: d["annotations"].append(d["annotations"][0]), 8, "duplicate id"),
        (lambda d: d["annotations"][0].update(image_id=99), 8, "annotation without image"),
        (lambda d: d["annotations"][0].update(category_id=9), 8, "unknown category"),
        (
            lambda d: d["annotations"][0].update(segmentation={"size": [4, 4], "counts": [16]}),
            8,
            "bad annotation",
        ),
        (
            lambda d: d["annotations"][0].update(segmentation=[[1, 1, 2, 2]]),
            8,
            "bad annotation",
        ),
        (
            lambda d: d["annotations"][0].update(segmentation=[[50, 10, 90, 10, 90, 30]]),
            8,
            "outside the image",
        ),
        (
            lambda d: d["annotations"][0].update(
                segmentation={"size": [48, 64], "counts": [48 * 64]}
            ),
            8,
            "empty mask",
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_what_is_wrong_is_counted_and_strict_stops_there(
    folder: Path, change: Edit, num_usable: int, kind: str
) -> None:
    edit(folder, change)
    assert problems(folder) == (num_usable, {kind: 1})
    with pytest.raises(DatasetError, match=kind):
        problems(folder, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(images=[{}]), "is no COCO file: it lacks 'id'"),
        (lambda d: d.update(images=[]), "lists 0 images"),
        (lambda d: d.update(annotations=[{}]), "is no COCO file: it lacks 'image_id'"),
    ],
)
def test_a_file_without_what_every_coco_file_has_is_refused(
    folder: Path, change: Edit, message: str
) -> None:
    edit(folder, change)
    with pytest.raises(DatasetError, match=message):
        open_dataset(folder)


def test_a_corrupt_image_in_the_middle_costs_one_sample(folder: Path) -> None:
    file = folder / "images" / "000003.png"
    file.write_bytes(file.read_bytes()[:60])
    assert problems(folder) == (7, {"unreadable image": 1})


def test_one_file_per_split_keeps_the_splits(folder: Path) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations").mkdir()
    for name, kept in (("train", slice(0, 6)), ("val", slice(6, 8))):
        part = document | {"images": document["images"][kept], "annotations": []}
        (folder / "annotations" / f"instances_{name}.json").write_text(json.dumps(part))
    (folder / "annotations.json").unlink()
    dataset = open_dataset(folder)
    assert dataset.splits == ["train", "val"]
    assert len(dataset.of_split("val")) == 2
    with pytest.raises(DatasetError, match="has no split 'test'; it has 'train', 'val'"):
        dataset.of_split("test")


def test_a_folder_of_no_known_layout_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none of the known layouts \(.*coco.*\)"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")
