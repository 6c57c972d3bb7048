"""Every cell of a pyramid says what lies there: guidance that a start from scratch needs.

A prompt's mask tells an encoder about one object, and only through the whole decoder; this tells it
about all cells at once and at its own end, as the auxiliary heads of segmentation networks do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from apsam_train.categories import CATEGORIES
from apsam_train.errors import ConfigError
from apsam_train.models import APSAM
from apsam_train.models.pyramid import Pyramid


@contextmanager
def collect_cells(model: APSAM) -> Iterator[list[Tensor]]:
    """What the cells hold, [B, C, L, L] of every image batch that a pyramid encodes inside."""
    cells: list[Tensor] = []
    pyramid = model.image_encoder.patch_embed
    if not isinstance(pyramid, Pyramid):
        yield cells
        return
    handle = pyramid.fused_cells.register_forward_hook(lambda _, __, out: cells.append(out))
    try:
        yield cells
    finally:
        handle.remove()


def name_cells(model: APSAM, cells: list[Tensor]) -> Tensor:
    """Logits [B, 31, L, L] of `CLASSES` from what `collect_cells` found. Raises ConfigError for a
    model without a pyramid."""
    pyramid = model.image_encoder.patch_embed
    if not isinstance(pyramid, Pyramid) or not cells:
        raise ConfigError(
            f"cell_weight needs the cells of a pyramid, and preset {model.preset.name!r} has none "
            "that learns; set cell_weight = 0 or preset 'demo'"
        )
    logits: Tensor = pyramid.names(cells[0])
    return logits


def cell_loss(logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy of the cells whose objects all have a category of their own.

    logits [B, 31, L, L] of `CLASSES`; target [B, K, L, L], share of each cell that an object
    covers; label int64 [B, K] of `categories.LABELS` or `UNKNOWN`. Where objects overlap a cell is
    all of them in equal parts; what none covers is no contraband.
    """
    named = (label >= 1) & (label <= len(CATEGORIES))
    place = label.clamp(min=0, max=len(CATEGORIES))[:, :, None, None].expand_as(target)
    shares = torch.zeros_like(logits)
    shares.scatter_reduce_(1, place, target * named[:, :, None, None], "amax")
    shares[:, 0] = 1 - shares[:, 1:].amax(dim=1)
    shares = shares / shares.sum(dim=1, keepdim=True)
    unsure = (target * ~named[:, :, None, None]).amax(dim=1)
    error = functional.cross_entropy(logits.float(), shares, reduction="none")
    known = unsure == 0
    return (error * known).sum() / known.sum().clamp(min=1)
