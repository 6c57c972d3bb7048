"""Checkpoints: one safetensors file whose metadata is a JSON card. No pickle.

`model.safetensors` holds weights. `last.safetensors`, the file a run resumes from, holds the
optimiser's state beside them. Both are written to a temporary name and renamed, so that a killed
run leaves the previous file whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, build

FORMAT_VERSION = 1
_MODEL, _OPTIMISER = "model.", "optimiser."


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint is. preset: name and `preset_numbers` its numbers at training time;
    training: configuration, data, versions, progress: free-form, for people and reports."""

    preset: str
    preset_numbers: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(cls, model: APSAM, training: Mapping[str, Any]) -> Card:
        """The card of a model built by `models.build`."""
        numbers = json.loads(json.dumps(asdict(model.preset)))
        return cls(preset=model.preset.name, preset_numbers=numbers, training=training)


def save_checkpoint(
    path: Path, model: APSAM, card: Card, *, optimizer: Optimizer | None = None
) -> None:
    """Write weights, and the optimiser's state when given, atomically."""
    tensors = {_MODEL + name: value.contiguous() for name, value in model.state_dict().items()}
    if optimizer is not None:
        tensors |= _optimizer_tensors(optimizer)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata={"card": json.dumps(asdict(card))})
    os.replace(partial, path)


def load_checkpoint(path: Path) -> tuple[APSAM, Card]:
    """Build the model that a checkpoint holds, in evaluation mode. Raises CheckpointError."""
    card, tensors = _read(path)
    if card.preset not in PRESETS:
        raise CheckpointError(
            f"{path} is of preset {card.preset!r}; this release has {', '.join(PRESETS)}"
        )
    model = build(PRESETS[card.preset])
    _load_weights(path, model, card, tensors)
    return model.eval(), card


def restore_checkpoint(path: Path, model: APSAM, optimizer: Optimizer) -> Card:
    """Load weights and optimiser state into a run. Raises CheckpointError."""
    card, tensors = _read(path)
    _load_weights(path, model, card, tensors)
    if not any(name.startswith(_OPTIMISER) for name in tensors):
        raise CheckpointError(f"{path} has no optimiser state; resume from last.safetensors")
    _load_optimizer(optimizer, tensors)
    return card


def _read(path: Path) -> tuple[Card, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is no readable checkpoint ({error}); give a .safetensors file written by "
            "`apsam-train fit`"
        ) from error
    try:
        card = Card(**json.loads(metadata["card"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has no APSAM card ({error!r}); give a file written by `apsam-train fit`"
        ) from error
    if card.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format_version {card.format_version}; this release reads {FORMAT_VERSION}"
        )
    return card, tensors


def _load_weights(path: Path, model: APSAM, card: Card, tensors: Mapping[str, Tensor]) -> None:
    expected = Card.of(model, {})
    if card.preset != expected.preset:
        raise CheckpointError(
            f"{path} is of preset {card.preset!r}, but {expected.preset!r} was asked for; "
            "use the other preset or another checkpoint"
        )
    if card.preset_numbers != expected.preset_numbers:
        changed = sorted(
            key
            for key in expected.preset_numbers
            if card.preset_numbers.get(key) != expected.preset_numbers[key]
        )
        raise CheckpointError(
            f"{path} was trained with other numbers of preset {card.preset!r} "
            f"({', '.join(changed)}); train again or use the release that wrote it"
        )
    weights = {
        name.removeprefix(_MODEL): value
        for name, value in tensors.items()
        if name.startswith(_MODEL)
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit preset {card.preset!r}: {error}") from error


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{_OPTIMISER}{index}.{name}": value.contiguous()
        for index, values in state.items()
        for name, value in values.items()
    }


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_OPTIMISER):
            index, name = key.removeprefix(_OPTIMISER).split(".")
            state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def versions() -> dict[str, str]:
    """Library versions that a card records."""
    return {"torch": torch.__version__}
