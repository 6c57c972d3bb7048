"""One training step's forward: click, decode, adaptive points, decode again (paper 4.4 and 5.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from apsam_serve.contract.apg import adaptive_points
from apsam_train.asking import Asked, Prompts, box_prompts, click_prompts, corrected_prompts
from apsam_train.category_loss import category_loss
from apsam_train.cell_loss import cell_loss, collect_cells
from apsam_train.config import TrainConfig
from apsam_train.data.training import TrainingItem
from apsam_train.feature_cache import FeatureCache
from apsam_train.losses import prompt_loss
from apsam_train.models import APSAM
from apsam_train.models.apsam import Decoded


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
        with collect_cells(self.model) as cells:
            if self._features is None:
                embedding = self.model.encode_image(
                    item.image, checkpointing=self._config.checkpointing
                )
            else:
                embedding = self._features.embed(self.model, item)
        energy_query, _ = self.model.encode_energy(item.image)
        place = self._place(embedding, item)

        def decode(prompts: Prompts, mask: Tensor | None = None) -> Decoded:
            return self.model.decode(
                embedding=embedding,
                energy_query=energy_query,
                image_index=image_index,
                point_coords=prompts.coords,
                point_labels=prompts.labels,
                mask_input=mask,
                has_mask_input=None if mask is None else torch.ones_like(mask[:, 0, 0, 0]),
                place=place,
            )

        decoded = decode(*self._prompts(item, asked, decode))

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
        if self._config.cell_weight:
            loss = loss + self._config.cell_weight * cell_loss(
                self.model,
                cells,
                target=item.target,
                boxes=item.boxes,
                label=item.label[:, :num_objects],
            )
        if decoded.category_logits is None:
            return StepResult(loss=loss, iou=iou, category=None)
        category = category_loss(decoded.category_logits, item.label.flatten())
        loss = loss + self._config.category_weight * category
        return StepResult(loss=loss, iou=iou, category=category)

    def _place(self, embedding: Tensor, item: TrainingItem) -> tuple[int, int]:
        """Where on the preset's grid a step's smaller pictures are taken to lie: anywhere, so that
        all of the positions are learned."""
        rng = np.random.default_rng([int(item.draw[0]), 3])
        grid = self.model.preset.spec.grid
        row, column = (int(rng.integers(grid - extent + 1)) for extent in embedding.shape[-2:])
        return row, column

    def _prompts(
        self, item: TrainingItem, asked: Asked, decode: Callable[[Prompts], Decoded]
    ) -> tuple[Prompts, Tensor | None]:
        """What the step asks, and the logits [P, 1, L, L] that it refines; a first decode, without
        gradient, where the prompt depends on a first mask."""
        if asked is Asked.BOX:
            return box_prompts(item), None
        points = item.clicks.view(-1, 1, 2)
        if asked is Asked.CLICK:
            return click_prompts(points), None
        with torch.no_grad():
            best = _best(decode(click_prompts(points)))
        if asked is Asked.REFINE:
            return corrected_prompts(item, best), best.unsqueeze(1)
        return click_prompts(self._adaptive(best, points, item)), None

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
