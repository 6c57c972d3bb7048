"""One training step's forward: click, decode, adaptive points, decode again (paper 4.4 and 5.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from apsam_serve.contract.apg import ApgConfig, adaptive_points
from apsam_serve.contract.prompts import PointLabel
from apsam_train.data.training import TrainingItem
from apsam_train.losses import LossWeights, prompt_loss
from apsam_train.models import APSAM


class PromptTraining(nn.Module):
    """Loss of a batch. Both decodes are trained: the first one's mask is what APG works on."""

    def __init__(self, model: APSAM, *, weights: LossWeights, apg: ApgConfig) -> None:
        super().__init__()
        self.model = model
        self._weights = weights
        self._apg = apg

    def forward(self, item: TrainingItem, *, use_apg: bool, seed: int) -> tuple[Tensor, Tensor]:
        """(loss, mean IoU of the last decode's chosen masks). seed: of APG's random draws."""
        num_images, num_prompts = item.clicks.shape[:2]
        embedding = self.model.encode_image(item.image)
        energy_query, _ = self.model.encode_energy(item.image)
        image_index = torch.arange(num_images, device=embedding.device)
        image_index = image_index.repeat_interleave(num_prompts)
        target = item.target.flatten(0, 1)

        def decode(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.model.decode(
                embedding=embedding,
                energy_query=energy_query,
                image_index=image_index,
                point_coords=torch.cat([points, torch.zeros_like(points[:, :1])], dim=1),
                point_labels=_positive_then_padding(points),
            )

        clicks = item.clicks.view(-1, 1, 2)
        logits, iou = decode(clicks)
        loss, chosen_iou = prompt_loss(logits, iou, target, self._weights)
        if use_apg:
            best = logits.detach()[torch.arange(len(iou)), iou.argmax(dim=1)]
            valid = item.valid_cells[image_index]
            logits, iou = decode(self._adaptive(best, clicks, valid, seed=seed))
            second, chosen_iou = prompt_loss(logits, iou, target, self._weights)
            loss = (loss + second) / 2
        return loss, chosen_iou

    def _adaptive(self, best: Tensor, clicks: Tensor, valid_cells: Tensor, *, seed: int) -> Tensor:
        """APG's points [P, 2, 2] on masks [P, L, L]; the click twice where the mask is empty."""
        points = clicks.repeat(1, 2, 1).cpu().numpy()
        masks = best.float().cpu().numpy()
        for i, (rows, columns) in enumerate(valid_cells.tolist()):
            config = replace(self._apg, seed=seed * len(masks) + i)
            found = adaptive_points(masks[i], valid_cells=(rows, columns), config=config)
            if found.branch != "empty":
                points[i] = found.points
        return torch.from_numpy(points.astype(np.float32)).to(clicks.device)


def _positive_then_padding(points: Tensor) -> Tensor:
    labels = torch.full((len(points), points.shape[1] + 1), float(PointLabel.POSITIVE))
    labels[:, -1] = float(PointLabel.PADDING)
    return labels.to(points.device)
