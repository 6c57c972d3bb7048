"""Every cell of a pyramid says what lies there and how far it reaches: guidance that a start from
scratch needs.

A prompt's mask tells an encoder about one object, and only through the whole decoder; this tells it
about all cells at once and at its own end, as the auxiliary heads of segmentation networks do.
Names do not tell one bottle from the next; how far each reaches does (Tian 2019, FCOS).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_train.categories import CATEGORIES, CLASSES
from apsam_train.errors import ConfigError
from apsam_train.models import APSAM
from apsam_train.models.pyramid import Pyramid

_REACH_WEIGHT = 4.0
"""Of the reaches beside the names; as counted here they are small numbers."""
_REACH_UNIT = 128
"""In pixels of the model, whatever the side of the picture: convolutions cannot know that."""
_REACH_BETA = 0.02
"""Errors below this count by their square."""


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


def cell_loss(
    model: APSAM, cells: list[Tensor], *, target: Tensor, boxes: Tensor, label: Tensor
) -> Tensor:
    """Loss of what a pyramid's cells say, as `collect_cells` found them.

    target [B, K, L, L], share of each cell that an object covers; boxes [B, K, 4] in model pixels;
    label int64 [B, K] of `categories.LABELS` or `UNKNOWN`.
    Raises ConfigError for a model without a pyramid.
    """
    pyramid = model.image_encoder.patch_embed
    if not isinstance(pyramid, Pyramid) or not cells:
        raise ConfigError(
            f"cell_weight needs the cells of a pyramid, and preset {model.preset.name!r} has none "
            "that learns; set cell_weight = 0 or preset 'demo'"
        )
    said = pyramid.says(cells[0]).float()
    names, reaches = said[:, : len(CLASSES)], said[:, len(CLASSES) :]
    return name_loss(names, target, label) + _REACH_WEIGHT * reach_loss(reaches, target, boxes)


def name_loss(logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy of the covered cells, and as much again of the others, because there are
    twenty times as many of them; cells of objects without a category of their own are not asked.

    logits [B, 31, L, L] of `CLASSES`. Where objects overlap a cell is all of them in equal parts;
    what none covers is no contraband.
    """
    named = (label >= 1) & (label <= len(CATEGORIES))
    place = label.clamp(min=0, max=len(CATEGORIES))[:, :, None, None].expand_as(target)
    shares = torch.zeros_like(logits)
    shares.scatter_reduce_(1, place, target * named[:, :, None, None], "amax")
    shares[:, 0] = 1 - shares[:, 1:].amax(dim=1)
    shares = shares / shares.sum(dim=1, keepdim=True)
    unsure = (target * ~named[:, :, None, None]).amax(dim=1)
    error = functional.cross_entropy(logits, shares, reduction="none")
    known, covered = unsure == 0, target.amax(dim=1) > 0.5
    return _mean_where(error, known & covered) + _mean_where(error, known & ~covered)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values, 0 where there are none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def reach_loss(reaches: Tensor, target: Tensor, boxes: Tensor) -> Tensor:
    """Mean smooth L1 of how far the box of a covered cell's object reaches from the cell's middle.

    reaches [B, 4, L, L] to the left, up, right and down in units of 128 model pixels, boxes
    [B, K, 4] in model pixels. Where objects overlap it is the smallest one's.
    """
    covered = target > 0.5
    area = target.sum(dim=(-2, -1))[:, :, None, None]
    owner = torch.where(covered, area, torch.inf).argmin(dim=1)
    rows, columns = target.shape[-2:]
    stride = MASK_STRIDE / _REACH_UNIT
    y = (torch.arange(rows, device=boxes.device) + 0.5)[:, None].expand(rows, columns) * stride
    x = (torch.arange(columns, device=boxes.device) + 0.5).expand(rows, columns) * stride
    index = owner.flatten(1).unsqueeze(2).expand(-1, -1, 4)
    left, top, right, bottom = (
        (boxes / _REACH_UNIT).gather(1, index).view(-1, rows, columns, 4).unbind(dim=-1)
    )
    wanted = torch.stack([x - left, y - top, right - x, bottom - y], dim=1)
    error = functional.smooth_l1_loss(reaches, wanted, beta=_REACH_BETA, reduction="none").sum(
        dim=1
    )
    return _mean_where(error, covered.any(dim=1))
