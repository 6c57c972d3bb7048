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
    """Loss of a batch: of the click's own decode, or of the decode on APG's two points.

    Both need training, because APG works on the first one's mask; the loop takes turns, which costs
    half of training both on every batch.
    """

    def __init__(self, model: APSAM, *, weights: LossWeights, apg: ApgConfig) -> None:
        super().__init__()
        self.model = model
        self._weights = weights
        self._apg = apg

    def forward(self, item: TrainingItem, *, use_apg: bool, seed: int) -> tuple[Tensor, Tensor]:
        """(loss, mean IoU of the chosen masks). seed: of APG's random draws."""
        num_images, num_prompts = item.clicks.shape[:2]
        embedding = self.model.encode_image(item.image)
        energy_query, _ = self.model.encode_energy(item.image)
        image_index = torch.arange(num_images, device=embedding.device)
        image_index = image_index.repeat_interleave(num_prompts)

        def decode(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.model.decode(
                embedding=embedding,
                energy_query=energy_query,
                image_index=image_index,
                point_coords=torch.cat([points, torch.zeros_like(points[:, :1])], dim=1),
                point_labels=_positive_then_padding(points),
            )

        points = item.clicks.view(-1, 1, 2)
        if use_apg:
            with torch.no_grad():
                first, iou = decode(points)
            best = first[torch.arange(len(iou)), iou.argmax(dim=1)]
            points = self._adaptive(best, points, item.valid_cells[image_index.cpu()], seed=seed)
        logits, iou = decode(points)
        return prompt_loss(logits, iou, item.target.flatten(0, 1), self._weights)

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
