"""What training asks the decoder: a click, adaptive points, a box, or a correction."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apsam_serve.contract.preprocess import MASK_STRIDE
from apsam_serve.contract.prompts import PointLabel
from apsam_train.config import TrainConfig
from apsam_train.data.training import TrainingItem

_BOX_JITTER = 0.1
"""A person's box misses the object's by up to this share of its size, on every side."""


class Asked(StrEnum):
    """What a step's prompts are; all of a step are alike, because they share one decode."""

    CLICK = "click"
    APG = "apg"
    BOX = "box"
    REFINE = "refine"


def asked_at(step: int, *, share: float, config: TrainConfig) -> Asked:
    """The prompts of a step at `share` of the run.

    A click's own decode and the decode on APG's points need training both, because APG works on the
    first one's mask; taking turns costs half of training both at every step.
    """
    chance = np.random.default_rng([config.seed, step]).random()
    if chance < config.box_share:
        return Asked.BOX
    if chance < config.box_share + config.refine_share:
        return Asked.REFINE
    return Asked.APG if share >= config.apg_start and step % 2 == 1 else Asked.CLICK


class Prompts(NamedTuple):
    """coords [P, N, 2] in model pixels, labels [P, N] of `PointLabel`."""

    coords: Tensor
    labels: Tensor


def click_prompts(points: Tensor) -> Prompts:
    """Positive points [P, N, 2] and SAM's padding point."""
    coords = torch.cat([points, torch.zeros_like(points[:, :1])], dim=1)
    labels = torch.full(coords.shape[:2], float(PointLabel.POSITIVE), device=points.device)
    labels[:, -1] = float(PointLabel.PADDING)
    return Prompts(coords, labels)


def box_prompts(item: TrainingItem) -> Prompts:
    """Jittered boxes of the objects; clicks beside all objects become boxes without extent."""
    num_negatives = item.clicks.shape[1] - item.target.shape[1]
    jittered = []
    for draw, boxes in zip(item.draw.tolist(), item.boxes, strict=True):
        rng = np.random.default_rng([draw, 1])
        size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        shift = rng.uniform(-_BOX_JITTER, _BOX_JITTER, size=tuple(boxes.shape))
        jittered.append(boxes + size * torch.from_numpy(shift).to(boxes))
    corners = torch.stack(jittered).view(*item.boxes.shape[:2], 2, 2)
    if num_negatives:
        beside = item.clicks[:, -num_negatives:].unsqueeze(2).expand(-1, -1, 2, -1)
        corners = torch.cat([corners, beside], dim=1)
    coords = corners.flatten(0, 1)
    kinds = [float(PointLabel.BOX_TOP_LEFT), float(PointLabel.BOX_BOTTOM_RIGHT)]
    return Prompts(coords, torch.tensor(kinds, device=coords.device).expand(len(coords), 2))


def corrected_prompts(item: TrainingItem, masks: Tensor) -> Prompts:
    """Each click and one more, as a person corrects a first mask [P, L, L] of logits: on what it
    lacks, positive, or on what it has too much, negative (Kirillov 2023, appendix A). Where nothing
    is wrong the click stands twice; beside all objects everything found is too much."""
    num_images, num_clicks = item.clicks.shape[:2]
    truth = torch.zeros(num_images, num_clicks, *masks.shape[1:], device=masks.device)
    truth[:, : item.target.shape[1]] = item.target
    found, wanted = masks.cpu().numpy() > 0, truth.flatten(0, 1).cpu().numpy() > 0.5
    clicks = item.clicks.view(-1, 2).cpu().numpy()
    labels = np.full((len(found), 3), float(PointLabel.POSITIVE), np.float32)
    coords = np.zeros((len(found), 3, 2), np.float32)
    coords[:, 0], labels[:, 2] = clicks, float(PointLabel.PADDING)
    draws = item.draw.tolist()
    for i, click in enumerate(clicks):
        rng = np.random.default_rng([draws[i // num_clicks], i % num_clicks, 2])
        cell = _random_cell(found[i] != wanted[i], rng)
        coords[i, 1] = click if cell is None else (np.array(cell[::-1]) + 0.5) * MASK_STRIDE
        if cell is not None and not wanted[i][cell]:
            labels[i, 1] = float(PointLabel.NEGATIVE)
    return Prompts(*(torch.from_numpy(part).to(masks.device) for part in (coords, labels)))


def _random_cell(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int] | None:
    cells = np.flatnonzero(mask)
    if not len(cells):
        return None
    row, column = divmod(int(cells[rng.integers(len(cells))]), mask.shape[1])
    return row, column
