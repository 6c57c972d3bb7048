"""Training batches: right geometry, and the same from any step on."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from apsam_serve.contract.preprocess import LetterBox
from apsam_train.categories import label_of
from apsam_train.data.augment import Augment
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, Sample
from apsam_train.data.sampling import EpochSampler, Share
from apsam_train.data.training import TrainingSet, collate, coverage
from apsam_train.errors import ConfigError, DatasetError


@pytest.fixture(scope="module")
def source(blocks_dataset: Path) -> ImageDataset:
    return open_dataset(blocks_dataset)


@pytest.mark.parametrize("augment", ["none", "view", "scanner"])
def test_every_click_lies_on_its_object(augment: Augment, source: ImageDataset) -> None:
    items = TrainingSet(source, side=64, num_prompts=5, augment=augment, seed=0)
    batch = collate([items[(epoch, i, i)] for epoch in range(4) for i in range(len(source))]).item
    x, y = (batch.clicks[..., axis].div(4).long() for axis in (0, 1))
    images, prompts = torch.meshgrid(torch.arange(len(x)), torch.arange(5), indexing="ij")
    assert (batch.target[images, prompts, y, x] > 0).all()


def test_a_batch_has_the_shapes_it_says(source: ImageDataset) -> None:
    items = TrainingSet(source, side=64, num_prompts=3, augment="none", seed=0)
    batch = collate([items[(0, i, i)] for i in range(2)]).item
    assert batch.image.shape == (2, 64, 64, 3)
    assert batch.image.dtype == torch.uint8
    assert batch.target.shape == (2, 3, 16, 16)
    assert batch.clicks.shape == (2, 3, 2)
    assert batch.valid_cells.tolist() == [[12, 16], [12, 16]]


@pytest.mark.parametrize("augment", ["view", "scanner"])
def test_the_same_draw_gives_the_same_item(augment: Augment, source: ImageDataset) -> None:
    first, again = (
        TrainingSet(source, side=64, num_prompts=3, augment=augment, seed=7)[(2, 5, 1)].item
        for _ in range(2)
    )
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.clicks, again.clicks)


def test_a_share_of_the_items_looks_as_other_scanners_show_bags(source: ImageDataset) -> None:
    def num_colours(scanner_share: float) -> float:
        items = TrainingSet(
            source,
            side=64,
            num_prompts=1,
            augment="scanner",
            seed=0,
            scanner_share=scanner_share,
        )
        images = [items[(0, i, i % len(source))].item.image.numpy() for i in range(60)]
        return float(np.mean([len(np.unique(one.reshape(-1, 3), axis=0)) for one in images]))

    none, some, all_of_them = (num_colours(share) for share in (0.0, 0.5, 1.0))
    assert none < 0.8 * some
    assert some < 0.8 * all_of_them


def test_coverage_is_the_share_of_each_cell() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:6, :8] = True
    cells = coverage(mask, LetterBox.fit(height=64, width=64, side=64))
    assert cells.shape == (16, 16)
    assert cells[:3, :3].tolist() == [[1, 1, 0], [0.5, 0.5, 0], [0, 0, 0]]


def test_coverage_leaves_the_padding_empty() -> None:
    mask = np.ones((32, 64), bool)
    cells = coverage(mask, LetterBox.fit(height=32, width=64, side=64))
    assert cells[:8].min() == 1
    assert cells[8:].max() == 0


def test_an_epoch_visits_every_sample_once() -> None:
    share = Share(batch_size=4)
    sampler = EpochSampler(num_samples=10, share=share, seed=0, first_step=0)
    drawn = [index for _, _, index in islice(sampler, 20)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]


@pytest.mark.parametrize(("num_devices", "accumulate"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_devices_and_passes_together_draw_what_one_would(num_devices: int, accumulate: int) -> None:
    def draws(share: Share, count: int) -> list[tuple[int, int, int]]:
        sampler = EpochSampler(num_samples=10, share=share, seed=3, first_step=2)
        return list(islice(sampler, count))

    whole = draws(Share(batch_size=4), 12)
    parts = [
        draws(
            Share(batch_size=4, rank=rank, num_devices=num_devices, accumulate=accumulate),
            12 // num_devices,
        )
        for rank in range(num_devices)
    ]
    each = 4 // num_devices
    together = [
        draw
        for step in range(3)
        for part in parts
        for draw in part[step * each : step * each + each]
    ]
    assert together == whole


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 6 .* 2 devices x 2 passes.*multiple of 4"):
        Share(batch_size=6, num_devices=2, accumulate=2)


def test_the_order_goes_on_where_it_stopped() -> None:
    def draws(first_step: int, count: int) -> list[tuple[int, int, int]]:
        share = Share(batch_size=4)
        sampler = EpochSampler(num_samples=10, share=share, seed=3, first_step=first_step)
        return list(islice(sampler, count))

    assert draws(0, 40)[12:] == draws(3, 28)


def test_an_unusable_sample_is_replaced_by_the_next_and_named(
    blocks_dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(blocks_dataset, tmp_path / "data")
    (tmp_path / "data" / "images" / "000003.png").write_bytes(b"no picture")
    source = open_dataset(tmp_path / "data")
    items = TrainingSet(source, side=64, num_prompts=2, augment="none", seed=0)
    broken, after = items[(0, 3, 3)], items[(0, 3, 4)]
    assert torch.equal(broken.item.image, after.item.image)
    assert int(broken.item.sample_index) == 4
    assert [str(problem.kind) for problem in broken.problems] == ["unreadable image"]
    assert after.problems == ()


def test_a_data_set_without_any_mask_is_refused(blocks_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks_dataset, tmp_path / "data")
    document = json.loads((tmp_path / "data" / "annotations.json").read_text())
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(document | {"annotations": []}))
    items = TrainingSet(
        open_dataset(tmp_path / "data"), side=64, num_prompts=2, augment="none", seed=0
    )
    with pytest.raises(DatasetError, match="no sample has an object with a mask"):
        items[(0, 0, 0)]


def test_boxes_and_labels_belong_to_the_clicked_objects(source: ImageDataset) -> None:
    item = TrainingSet(source, side=64, num_prompts=4, augment="view", seed=1)[(0, 0, 0)].item
    (x, y), (left, top) = item.clicks.T, item.boxes[:, :2].T
    assert ((left <= x) & (x <= item.boxes[:, 2]) & (top <= y) & (y <= item.boxes[:, 3])).all()
    assert set(item.label.tolist()) == {source.label_of("Gun"), source.label_of("Bullet")}


def test_clicks_beside_all_objects_are_labelled_none(source: ImageDataset) -> None:
    items = TrainingSet(source, side=64, num_prompts=2, num_negatives=3, augment="none", seed=0)
    item = items[(0, 0, 0)].item
    assert item.label[2:].tolist() == [0, 0, 0]
    x, y = item.clicks[2:].div(4).long().T
    assert (item.target[:, y, x] < 1).all()


@pytest.mark.parametrize("belt", [228, 255])
def test_clicks_beside_all_objects_keep_off_the_belt_whatever_its_grey(belt: int) -> None:
    image = np.full((64, 64, 3), belt, np.uint8)
    image[8:24, 8:24], image[40:56, 40:56] = (30, 60, 200), (220, 150, 90)
    source = OneSample(
        Sample(
            name="a", image=image, instances=(Instance(category="Gun", mask=image[..., 0] == 30),)
        )
    )
    items = TrainingSet(source, side=64, num_prompts=1, num_negatives=8, augment="none", seed=0)
    clicks = items[(0, 0, 0)].item.clicks[1:]
    assert ((clicks >= 40) & (clicks < 56)).all()


class OneSample:
    """Implements `SampleSource`."""

    description = "one sample"

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self._sample

    def label_of(self, category: str) -> int:
        return label_of(category)
