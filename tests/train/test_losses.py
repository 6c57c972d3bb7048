"""Losses by hand-computed cases."""

from __future__ import annotations

import pytest
import torch

from apsam_train.losses import LossWeights, dice_loss, focal_loss, mask_iou, prompt_loss


def test_a_perfect_mask_costs_next_to_nothing() -> None:
    target = torch.zeros(1, 4, 4)
    target[:, :2] = 1
    logits = (target * 2 - 1) * 20
    assert focal_loss(logits, target, gamma=2.0, over="image").item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_dice_of_half_an_object_is_by_the_formula() -> None:
    target, logits = torch.ones(1, 2, 4), torch.full((1, 2, 4), -50.0)
    logits[:, 0] = 50
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 * 4 + 1) / (4 + 8 + 1))


def test_focal_loss_over_the_object_counts_a_small_object_as_much_as_a_large_one() -> None:
    def blank_cost(cells: int) -> float:
        target = torch.zeros(1, 64, 64)
        target.view(-1)[:cells] = 1
        return focal_loss(torch.full((1, 64, 64), -6.0), target, gamma=2.0, over="object").item()

    assert blank_cost(64) == pytest.approx(blank_cost(1024), rel=0.25)


def test_soft_targets_put_the_minimum_at_their_own_value() -> None:
    logits = torch.linspace(-4, 4, 81).view(-1, 1, 1)
    costs = focal_loss(logits, torch.full_like(logits, 0.7), gamma=2.0, over="image")
    assert logits[costs.argmin()].sigmoid().item() == pytest.approx(0.7, abs=0.02)


def test_iou_counts_cells_more_than_half_covered() -> None:
    logits = torch.tensor([[[3.0, 3.0], [-3.0, -3.0]]])
    target = torch.tensor([[[0.9, 0.4], [0.6, 0.0]]])
    assert mask_iou(logits, target).item() == pytest.approx(1 / 3)


def test_two_empty_masks_agree() -> None:
    assert mask_iou(torch.full((1, 2, 2), -1.0), torch.zeros(1, 2, 2)).item() == 1.0


def test_only_the_best_of_the_masks_is_trained() -> None:
    target = torch.zeros(1, 4, 4)
    target[:, :2] = 1
    logits = torch.stack([(target * 2 - 1), torch.zeros_like(target)], dim=1).requires_grad_()
    loss, _ = prompt_loss(logits, torch.zeros(1, 2), target, LossWeights())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1].abs().sum() == 0


def test_the_reported_iou_is_of_the_mask_the_model_would_choose() -> None:
    target = torch.zeros(1, 4, 4)
    target[:, :2] = 1
    logits = torch.stack([(target * 2 - 1), -torch.ones_like(target)], dim=1)
    _, good = prompt_loss(logits, torch.tensor([[0.9, 0.1]]), target, LossWeights())
    _, bad = prompt_loss(logits, torch.tensor([[0.1, 0.9]]), target, LossWeights())
    assert (good.item(), bad.item()) == (1.0, 0.0)
