"""Which parts of the model learn."""

from __future__ import annotations

from torch import nn

from apsam_train.config import TrainConfig
from apsam_train.models import APSAM
from apsam_train.models.pyramid import Pyramid


def choose_trainable(model: APSAM, config: TrainConfig) -> None:
    """Set `requires_grad` of every parameter.

    "all"; "adapters": adapters and energy parts (paper 5.2); "energy": energy parts only;
    "category": the category head only. A category head learns in every one of them. Without
    `config.energy` the query stays zero: the model is SAM with adapters, the paper's "w/o EAE".
    What nothing asks for does not learn either: what a pyramid's cells say without `cell_weight`.
    """
    energy_parts = [model.energy_encoder, model.location_initializer]
    if config.trainable == "adapters":
        model.freeze_sam()
    else:
        model.requires_grad_(config.trainable == "all")
        parts: list[nn.Module] = [] if model.category_head is None else [model.category_head]
        parts += energy_parts if config.trainable == "energy" else []
        for part in parts:
            part.requires_grad_(True)
    if not config.cell_weight:
        for pyramid in (part for part in model.modules() if isinstance(part, Pyramid)):
            pyramid.says.requires_grad_(False)
    if not config.energy:
        for part in energy_parts:
            part.requires_grad_(False)
        nn.init.zeros_(model.location_initializer.project.weight)
        nn.init.zeros_(model.location_initializer.project.bias)


def encoder_is_frozen(model: APSAM) -> bool:
    """Whether nothing that an embedding depends on learns."""
    parts = (model.image_encoder, model.adapters)
    return not any(p.requires_grad for part in parts for p in part.parameters())
