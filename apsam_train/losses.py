"""Losses of SAM's recipe (spec: focal 20, dice 1, MSE on the predicted IoU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the three terms. focal_gamma: focusing exponent; focal_over: what the focal sum is
    divided by, the cells of the image (SAM) or the cells of the object (see `focal_loss`)."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    focal_gamma: float = 2.0
    focal_over: Literal["image", "object"] = "image"


def prompt_loss(
    logits: Tensor, iou: Tensor, target: Tensor, weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """Mean loss over prompts, and mean IoU of the masks the model would choose (detached).

    logits [P, M, L, L], iou [P, M] predicted, target [P, L, L] in [0, 1]. As in SAM, only the best
    of the M masks of a prompt receives the mask loss; every IoU prediction is trained.
    """
    target = target.unsqueeze(1).expand_as(logits)
    focal = focal_loss(logits, target, gamma=weights.focal_gamma, over=weights.focal_over)
    mask_loss = weights.focal * focal + weights.dice * dice_loss(logits, target)
    actual = mask_iou(logits, target)
    iou_loss = F.mse_loss(iou, actual, reduction="none").mean(dim=1)
    loss = mask_loss.min(dim=1).values + weights.iou * iou_loss
    chosen = iou.argmax(dim=1, keepdim=True)
    return loss.mean(), actual.gather(1, chosen).mean()


def focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float, over: Literal["image", "object"]
) -> Tensor:
    """Focal loss (Lin 2017) for targets in [0, 1], summed over the last two axes and divided by the
    number of cells of the image, or of the object as Lin divides by the number of positives.

    Over the image an object of 1 per cent hardly counts, which a pretrained model can afford and
    one that starts from scratch cannot: predicting nothing is then nearly free.
    """
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    distance = (logits.sigmoid() - target).abs()
    total = (distance**gamma * error).sum(dim=(-2, -1))
    if over == "image":
        return total / (target.shape[-2] * target.shape[-1])
    return total / target.sum(dim=(-2, -1)).clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of the soft mask over the last two axes, smoothed by one cell."""
    soft = logits.sigmoid()
    shared = (soft * target).sum(dim=(-2, -1))
    total = soft.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1))
    return 1 - (2 * shared + 1) / (total + 1)


@torch.no_grad()
def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks over the last two axes; 1 where both are empty."""
    predicted, truth = logits > 0, target > 0.5
    shared = (predicted & truth).sum(dim=(-2, -1))
    union = (predicted | truth).sum(dim=(-2, -1))
    return torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(shared).float())
