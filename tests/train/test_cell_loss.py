"""What every cell of a pyramid is asked, by hand-computed cases."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apsam_train.categories import CLASSES, UNKNOWN, category_id, label_of
from apsam_train.cell_loss import name_loss, reach_loss
from apsam_train.config import read_config
from apsam_train.data.formats import open_dataset
from apsam_train.errors import ConfigError
from apsam_train.fit import fit
from apsam_train.models import PRESETS, Preset, build
from tests.train.models.test_pyramid import SMALL_PYRAMID

_SAYS = "image_encoder.patch_embed.says.1.weight"
GUN, BULLET = category_id("Gun"), category_id("Bullet")


def evenly(*shape: int) -> torch.Tensor:
    """Logits that say nothing."""
    return torch.zeros(1, len(CLASSES), *shape)


def test_a_cell_of_nothing_is_no_contraband() -> None:
    logits = evenly(1, 2)
    logits[0, 0] = 2.0
    loss = name_loss(logits, torch.zeros(1, 1, 1, 2), torch.tensor([[GUN]]))
    assert loss.item() == pytest.approx(math.log(math.exp(2) + 30) - 2, rel=1e-5)


def test_a_cell_of_two_objects_is_both_in_equal_parts() -> None:
    logits = evenly(1, 1)
    logits[0, GUN], logits[0, BULLET] = 3.0, 1.0
    loss = name_loss(logits, torch.ones(1, 2, 1, 1), torch.tensor([[GUN, BULLET]]))
    total = math.log(math.exp(3) + math.exp(1) + 29)
    assert loss.item() == pytest.approx(total - (3 + 1) / 2, rel=1e-5)


def test_an_object_clicked_twice_counts_once() -> None:
    logits = evenly(1, 1)
    logits[0, GUN] = 3.0
    once = name_loss(logits, torch.ones(1, 1, 1, 1), torch.tensor([[GUN]]))
    twice = name_loss(logits, torch.ones(1, 2, 1, 1), torch.tensor([[GUN, GUN]]))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("label", [UNKNOWN, label_of("Firearms")])
def test_cells_of_objects_without_a_category_of_their_own_teach_nothing(label: int) -> None:
    logits = evenly(1, 2).requires_grad_()
    target = torch.tensor([[[[1.0, 0.0]]]])
    loss = name_loss(logits, target, torch.tensor([[label]]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[..., 0].any()
    assert gradient[..., 1].any()


def test_a_cell_is_asked_how_far_the_smallest_object_over_it_reaches() -> None:
    """Two boxes on a picture of 2 x 2 cells: one over everything, one over the lower right cell."""
    target = torch.zeros(1, 2, 2, 2)
    target[0, 0] = 1
    target[0, 1, 1, 1] = 1
    boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 8.0, 8.0]]])
    right = torch.empty(1, 4, 2, 2)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        x, y = 4 * column + 2, 4 * row + 2
        right[0, :, row, column] = torch.tensor([x, y, 8 - x, 8 - y]) / 128
    right[0, :, 1, 1] = 2 / 128
    assert reach_loss(right, target, boxes) == 0
    wrong = right.clone()
    wrong[0, 2, 1, 1] += 0.1
    assert reach_loss(wrong, target, boxes).item() == pytest.approx((0.1 - 0.01) / 4)


def test_cells_without_objects_are_not_asked_how_far() -> None:
    reaches = torch.full((1, 4, 1, 2), 9.0, requires_grad=True)
    loss = reach_loss(reaches, torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 4))
    (gradient,) = torch.autograd.grad(loss, reaches)
    assert loss == 0
    assert not gradient.any()


def test_a_model_without_cells_is_refused(
    small_preset: Preset, blocks_dataset: Path, tmp_path: Path
) -> None:
    config = replace(read_config("tiny"), epochs=1, num_workers=0, cell_weight=1.0)
    with pytest.raises(ConfigError, match=r"preset 'tiny' has none that learns; set cell_weight"):
        fit(config, source=open_dataset(blocks_dataset), out=tmp_path)


def test_a_pyramid_learns_what_its_cells_are_on_pictures_of_several_sides(
    blocks_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "demo", SMALL_PYRAMID)
    config = replace(
        read_config("demo"),
        epochs=2,
        devices=1,
        log_every=1,
        warmup_steps=1,
        sides=(32, 48),
        closeups=0.5,
        refine_share=0.4,
    )
    source = open_dataset(blocks_dataset)
    fit(config, source=source, out=tmp_path / "named")
    fit(replace(config, cell_weight=0.0), source=source, out=tmp_path / "not")
    named, plain = (_said(tmp_path / out / "model.safetensors") for out in ("named", "not"))
    torch.manual_seed(config.seed)
    fresh = build(SMALL_PYRAMID).state_dict()[_SAYS]
    assert torch.equal(plain, fresh)
    assert not torch.equal(named, fresh)


def _said(checkpoint: Path) -> torch.Tensor:
    return load_file(checkpoint)[f"model.{_SAYS}"]
