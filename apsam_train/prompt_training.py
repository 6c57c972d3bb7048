"""One training step's forward: click, decode, adaptive points, decode again (paper 4.4 and 5.1)."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from apsam_serve.contract.apg import adaptive_points
from apsam_serve.contract.prompts import PointLabel
from apsam_train.category_loss import category_loss
from apsam_train.config import TrainConfig
from apsam_train.data.training import TrainingItem
from apsam_train.feature_cache import FeatureCache
from apsam_train.losses import prompt_loss
from apsam_train.models import APSAM
from apsam_train.models.apsam import Decoded

_BOX_JITTER = 0.1
"""A person's box misses the object's by up to this share of its size, on every side."""


class Asked(StrEnum):
    """What a step's prompts are; all of a step are alike, because they share one decode."""

    CLICK = "click"
    APG = "apg"
    BOX = "box"


def asked_at(step: int, *, share: float, config: TrainConfig) -> Asked:
    """The prompts of a step at `share` of the run.

    A click's own decode and the decode on APG's points need training both, because APG works on the
    first one's mask; taking turns costs half of training both at every step.
    """
    if np.random.default_rng([config.seed, step]).random() < config.box_share:
        return Asked.BOX
    return Asked.APG if share >= config.apg_start and step % 2 == 1 else Asked.CLICK


class StepResult(NamedTuple):
    """loss: what is minimised, mean over prompts; iou: mean of the masks the model would choose;
    category: the category head's part of the loss, None without a head."""

    loss: Tensor
    iou: Tensor
    category: Tensor | None


class PromptTraining(nn.Module):
    """Loss of a batch under one kind of prompt."""

    def __init__(
        self, model: APSAM, config: TrainConfig, *, features: FeatureCache | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._config = config
        self._features = features

    def forward(self, item: TrainingItem, *, asked: Asked) -> StepResult:
        """item: collated, on the model's device; the same item gives the same loss anywhere."""
        num_images, num_clicks = item.clicks.shape[:2]
        num_objects = item.target.shape[1]
        image_index = torch.arange(num_images, device=item.image.device)
        image_index = image_index.repeat_interleave(num_clicks)
        if self._features is None:
            embedding = self.model.encode_image(
                item.image, checkpointing=self._config.checkpointing
            )
        else:
            embedding = self._features.embed(self.model, item)
        energy_query, _ = self.model.encode_energy(item.image)

        def decode(coords: Tensor, labels: Tensor) -> Decoded:
            return self.model.decode(
                embedding=embedding,
                energy_query=energy_query,
                image_index=image_index,
                point_coords=coords,
                point_labels=labels,
            )

        if asked is Asked.BOX:
            decoded = decode(*_box_prompts(item))
        else:
            points = item.clicks.view(-1, 1, 2)
            if asked is Asked.APG:
                with torch.no_grad():
                    first = decode(*_clicks(points))
                points = self._adaptive(_best(first), points, item)
            decoded = decode(*_clicks(points))

        def of_objects(values: Tensor) -> Tensor:
            """Without the clicks that lie beside all objects, which have no mask to learn."""
            by_image = values.view(num_images, num_clicks, *values.shape[1:])
            return by_image[:, :num_objects].flatten(0, 1)

        loss, iou = prompt_loss(
            of_objects(decoded.logits).float(),
            of_objects(decoded.iou).float(),
            item.target.flatten(0, 1),
            self._config.loss,
        )
        if decoded.category_logits is None:
            return StepResult(loss=loss, iou=iou, category=None)
        category = category_loss(decoded.category_logits, item.label.flatten())
        loss = loss + self._config.category_weight * category
        return StepResult(loss=loss, iou=iou, category=category)

    def _adaptive(self, best: Tensor, clicks: Tensor, item: TrainingItem) -> Tensor:
        """APG's points [P, 2, 2] on masks [P, L, L]; the click twice where the mask is empty."""
        points = clicks.repeat(1, 2, 1).cpu().numpy()
        masks = best.float().cpu().numpy()
        per_image = len(masks) // len(item.image)
        draws, cells = item.draw.tolist(), item.valid_cells.tolist()
        for i, mask in enumerate(masks):
            image, place = divmod(i, per_image)
            config = replace(self._config.apg, seed=draws[image] * per_image + place)
            rows, columns = cells[image]
            found = adaptive_points(mask, valid_cells=(rows, columns), config=config)
            if found.branch != "empty":
                points[i] = found.points
        return torch.from_numpy(points.astype(np.float32)).to(clicks.device)


def _best(decoded: Decoded) -> Tensor:
    """The mask of highest predicted IoU of every prompt: [P, L, L]."""
    prompts = torch.arange(len(decoded.iou), device=decoded.iou.device)
    return decoded.logits[prompts, decoded.iou.argmax(dim=1)]


def _clicks(points: Tensor) -> tuple[Tensor, Tensor]:
    """Positive points [P, N, 2] and SAM's padding point: coordinates and labels."""
    coords = torch.cat([points, torch.zeros_like(points[:, :1])], dim=1)
    labels = torch.full(coords.shape[:2], float(PointLabel.POSITIVE), device=points.device)
    labels[:, -1] = float(PointLabel.PADDING)
    return coords, labels


def _box_prompts(item: TrainingItem) -> tuple[Tensor, Tensor]:
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
    return coords, torch.tensor(kinds, device=coords.device).expand(len(coords), 2)
