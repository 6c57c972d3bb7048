"""Which side the pictures of a step have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from apsam_train.config import read_config
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sampling import Sides
from apsam_train.data.training import TrainingSet
from apsam_train.errors import ConfigError
from apsam_train.loading import Batches


def test_all_pictures_of_a_step_have_one_side_and_steps_share_the_sides_evenly() -> None:
    sides = Sides(choices=(64, 64, 96), largest=96, batch_size=4, seed=0)
    by_step = [{sides.of_draw(4 * step + place) for place in range(4)} for step in range(600)]
    assert {len(one) for one in by_step} == {1}
    counts = Counter(one.pop() for one in by_step)
    assert counts[64] / 600 == pytest.approx(2 / 3, abs=0.06)


def test_batches_come_in_the_configured_sides(blocks_dataset: Path) -> None:
    config = replace(read_config("demo"), batch_size=4, sides=(32, 48), num_workers=0)
    fabric = Fabric(accelerator="cpu")
    source, problems = open_dataset(blocks_dataset), ProblemLog()
    batches = Batches(config, source, first_step=0, fabric=fabric, problems=problems)
    items = [next(batches) for _ in range(16)]
    assert {tuple(item.image.shape[1:3]) for item in items} == {(32, 32), (48, 48)}
    for item in items:
        assert item.target.shape[-1] == item.image.shape[1] // 4
        assert (item.clicks < item.image.shape[1]).all()
    assert torch.equal(items[0].draw, torch.arange(4))


def test_a_model_that_knows_one_side_is_not_given_another(blocks_dataset: Path) -> None:
    config = replace(read_config("tiny"), sides=(128,))
    source, fabric = open_dataset(blocks_dataset), Fabric(accelerator="cpu")
    with pytest.raises(ConfigError, match="knows pictures of side 256 alone; leave sides out"):
        Batches(config, source, first_step=0, fabric=fabric, problems=ProblemLog())


def test_sides_beyond_the_presets_are_refused(blocks_dataset: Path) -> None:
    config = replace(read_config("demo"), sides=(128, 512))
    source, fabric = open_dataset(blocks_dataset), Fabric(accelerator="cpu")
    with pytest.raises(ConfigError, match="is for pictures of side 384; give that and smaller"):
        Batches(config, source, first_step=0, fabric=fabric, problems=ProblemLog())


def test_of_the_small_pictures_close_ups_show_objects_at_their_full_size(
    blocks_dataset: Path,
) -> None:
    source = open_dataset(blocks_dataset)
    sides = Sides(choices=(32,), largest=96, batch_size=4, seed=0)

    def covered(side: int | Sides, closeups: float) -> float:
        items = TrainingSet(
            source, side=side, num_prompts=1, augment="view", seed=0, closeups=closeups
        )
        views = [items[(0, i, i % len(source))].item for i in range(40)]
        return float(np.median([view.target.sum().item() for view in views]))

    shrunk, near, whole = covered(sides, 0.0), covered(sides, 1.0), covered(96, 1.0)
    assert near > 3 * shrunk
    assert near == pytest.approx(whole, rel=0.5)
