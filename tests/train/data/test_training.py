"""Training batches: right geometry, and the same from any step on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from apsam_serve.contract.preprocess import LetterBox
from apsam_train.data.augment import random_view
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, Sample
from apsam_train.data.training import EpochSampler, TrainingSet, collate, coverage


@pytest.fixture(scope="module")
def source(blocks_dataset: Path) -> ImageDataset:
    return open_dataset(blocks_dataset)


def test_every_click_lies_on_its_object(source: ImageDataset) -> None:
    items = TrainingSet(source, side=64, num_prompts=5, augment=True, seed=0)
    batch = collate([items[(epoch, i, i)] for epoch in range(4) for i in range(len(source))])
    x, y = (batch.clicks[..., axis].div(4).long() for axis in (0, 1))
    images, prompts = torch.meshgrid(torch.arange(len(x)), torch.arange(5), indexing="ij")
    assert (batch.target[images, prompts, y, x] > 0).all()


def test_a_batch_has_the_shapes_it_says(source: ImageDataset) -> None:
    items = TrainingSet(source, side=64, num_prompts=3, augment=False, seed=0)
    batch = collate([items[(0, i, i)] for i in range(2)])
    assert batch.image.shape == (2, 64, 64, 3)
    assert batch.image.dtype == torch.uint8
    assert batch.target.shape == (2, 3, 16, 16)
    assert batch.clicks.shape == (2, 3, 2)
    assert batch.valid_cells.tolist() == [[12, 16], [12, 16]]


def test_the_same_draw_gives_the_same_item(source: ImageDataset) -> None:
    first, again = (
        TrainingSet(source, side=64, num_prompts=3, augment=True, seed=7)[(2, 5, 1)]
        for _ in range(2)
    )
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.clicks, again.clicks)


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
    draws = islice(EpochSampler(num_samples=10, batch_size=4, seed=0, first_step=0), 20)
    epochs = [[index for _, _, index in list(draws)[:10]]]
    assert sorted(epochs[0]) == list(range(10))


def test_the_order_goes_on_where_it_stopped() -> None:
    def draws(first_step: int, count: int) -> list[tuple[int, int, int]]:
        sampler = EpochSampler(num_samples=10, batch_size=4, seed=3, first_step=first_step)
        return list(islice(sampler, count))

    assert draws(0, 40)[12:] == draws(3, 28)


def test_a_random_view_moves_masks_with_the_image() -> None:
    image = np.full((40, 60, 3), 250, np.uint8)
    image[10:30, 5:50] = (30, 60, 200)
    mask = image[..., 0] == 30
    sample = Sample(name="a", image=image, instances=(Instance(category="Gun", mask=mask),))
    for seed in range(30):
        view = random_view(sample, np.random.default_rng(seed))
        inside = view.image[view.instances[0].mask]
        outside = view.image[~view.instances[0].mask]
        assert inside[:, 0].max() < 120
        assert outside.size == 0 or outside[:, 0].min() > 120
