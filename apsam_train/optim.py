"""The optimiser and its schedule (paper 5.1: AdamW, linear warm-up)."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from apsam_train.config import TrainConfig

_LAST_PART = 0.2
"""Share of a run in which a trapezoid falls; until then the run can still be made longer."""


def adamw(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW over the trainable parameters; weight decay on matrices only."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate)


def learning_rate(share: float, *, step: int, config: TrainConfig) -> float:
    """Rate of a step at `share` of the run: linear warm-up, then as `config.schedule` says."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = 1 - min(1.0, share)
    if config.schedule == "cosine":
        warm *= 0.5 * (1 - math.cos(math.pi * left))
    elif config.schedule == "trapezoid":
        warm *= min(1.0, left / _LAST_PART)
    return config.learning_rate * warm
