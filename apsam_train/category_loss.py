"""The category head's loss, for labels that may name a superclass only (paper 3.4 and 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from apsam_train.categories import CLASSES, MEMBERSHIP, UNKNOWN


def category_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Mean of -log P(label) over the prompts whose label is known; 0, with gradient, without any.

    logits [P, 31] of `CLASSES`, label int64 [P] of `categories.LABELS` or `UNKNOWN`. P(superclass)
    is the sum over its categories: a label that says less teaches less, never something else.
    """
    probability = logits.float().log_softmax(dim=1)
    members = _members(logits.device)[label.clamp(min=0)]
    loss = -probability.masked_fill(~members, -torch.inf).logsumexp(dim=1)
    known = label != UNKNOWN
    return torch.where(known, loss, 0.0).sum() / known.sum().clamp(min=1)


def _members(device: torch.device) -> Tensor:
    """bool [41, 31]: whether a label (row) has a class (column)."""
    superclasses = torch.tensor(MEMBERSHIP, device=device)
    return torch.cat([torch.eye(len(CLASSES), dtype=torch.bool, device=device), superclasses])
