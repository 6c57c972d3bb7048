"""The category head: beside the model, never in its way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from apsam_train.categories import CATEGORIES
from apsam_train.errors import ConfigError
from apsam_train.models import APSAM, Preset, build, with_category_head
from apsam_train.models.apsam import Decoded
from apsam_train.models.category_head import CategoryHead


def decode(model: APSAM) -> Decoded:
    spec = model.preset.spec
    random = torch.Generator().manual_seed(3)
    return model.decode(
        embedding=torch.randn(2, spec.embed_dim, spec.grid, spec.grid, generator=random),
        energy_query=torch.randn(2, spec.embed_dim, generator=random),
        image_index=torch.tensor([0, 1, 1]),
        point_coords=torch.rand(3, 2, 2, generator=random) * spec.side,
        point_labels=torch.tensor([[1.0, -1.0]]).repeat(3, 1),
    )


def test_a_head_added_to_a_model_changes_neither_masks_nor_weights(small_model: APSAM) -> None:
    before, weights = decode(small_model), dict(small_model.state_dict())
    named = with_category_head(small_model)
    after = decode(named)
    assert before.category_logits is None
    assert torch.equal(after.logits, before.logits)
    assert torch.equal(after.iou, before.iou)
    assert after.category_logits is not None
    assert after.category_logits.shape == (3, 31)
    added = {name for name in named.state_dict() if name not in weights}
    assert added == {
        f"category_head.layers.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")
    }
    assert all(torch.equal(named.state_dict()[name], value) for name, value in weights.items())
    assert named.preset == replace(small_model.preset, num_categories=30)
    assert named.preset.spec.categories == CATEGORIES
    assert not named.training


def test_a_seed_gives_the_same_weights_with_a_head_and_without(small_preset: Preset) -> None:
    torch.manual_seed(5)
    plain = build(small_preset)
    torch.manual_seed(5)
    named = build(replace(small_preset, num_categories=30))
    for name, value in plain.state_dict().items():
        assert torch.equal(named.state_dict()[name], value), name


def test_another_number_of_categories_has_no_names(small_preset: Preset) -> None:
    with pytest.raises(ConfigError, match=r"has num_categories 5; give 0 for no .* head, or 30"):
        build(replace(small_preset, num_categories=5))


def test_gradient_reaches_the_head_on_a_frozen_model(small_model: APSAM) -> None:
    small_model.requires_grad_(False)
    named = with_category_head(small_model)
    category_logits = decode(named).category_logits
    assert category_logits is not None
    category_logits.sum().backward()
    trained = {name for name, p in named.named_parameters() if p.grad is not None}
    assert trained == {name for name in named.state_dict() if name.startswith("category_head.")}


def test_frozen_sam_leaves_the_head_to_be_trained(small_model: APSAM) -> None:
    small_model.freeze_sam()
    without = small_model.num_trainable()
    named = with_category_head(small_model)
    named.freeze_sam()
    assert named.num_trainable() - without == 32 * 32 + 32 + 31 * 32 + 31


def test_the_head_sees_the_token_of_the_mask_with_the_highest_iou() -> None:
    torch.manual_seed(0)
    head = CategoryHead(8, num_categories=3)
    tokens = torch.randn(3, 4, 8)
    iou = torch.tensor([[0.1, 0.9, 0.3, 0.2], [-0.5, -0.9, -0.7, -0.6], [0.4, 0.2, 0.4, 0.1]])
    chosen = torch.stack([tokens[0, 1], tokens[1, 0], (tokens[2, 0] + tokens[2, 2]) / 2])
    torch.testing.assert_close(head(tokens, iou), head.layers(chosen))
