"""Checkpoints: one safetensors file whose metadata is a JSON card. No pickle.

`model.safetensors` holds weights. `last.safetensors`, the file a run resumes from, holds the
optimiser's state and the run's own tensors beside them. Both are written to a temporary name and
renamed, so that a killed run leaves the previous file whole. A file whose card names a base is a
delta: it leaves out SAM's own weights (see `delta`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from apsam_serve.contract.apg import ApgConfig
from apsam_train.categories import CATEGORIES
from apsam_train.delta import Base, check_base, check_frozen, load_base, needs_no_base
from apsam_train.errors import CheckpointError
from apsam_train.files import whole_file
from apsam_train.models import APSAM, PRESETS, Preset, build
from apsam_train.sam_weights import is_sam

FORMAT_VERSION = 1
_MODEL, _OPTIMISER, _EXTRA = "model.", "optimiser.", "extra."
_READABLE = 0o644


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint is. preset: name and `preset_numbers` its numbers at training time;
    training: configuration, data, versions, progress: free-form, for people and reports; base: of
    a delta, the SAM file it belongs to, as `delta.base_of` says it; None for a whole file."""

    preset: str
    preset_numbers: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    base: Base | None = None
    format_version: int = FORMAT_VERSION

    @property
    def apg(self) -> ApgConfig:
        """How adaptive points are made for this model when it answers: with the core that it was
        trained with, and without the random scales of training."""
        trained = self.training.get("config", {}).get("apg", {})
        return ApgConfig(core=trained.get("core", 0.0))

    @classmethod
    def of(cls, model: APSAM, training: Mapping[str, Any], *, base: Base | None = None) -> Card:
        """The card of a model built by `models.build`."""
        numbers = json.loads(json.dumps(asdict(model.preset)))
        return cls(preset=model.preset.name, preset_numbers=numbers, training=training, base=base)


def save_checkpoint(
    path: Path,
    model: APSAM,
    card: Card,
    *,
    optimizer: Optimizer | None = None,
    extra: Mapping[str, Tensor] | None = None,
    half: bool = False,
) -> None:
    """Write weights, and the optimiser's state and `extra` when given, atomically.

    A card with a base makes the file a delta; half: weights are rounded to FP16. Raises
    CheckpointError when SAM trains nevertheless, and for weights that FP16 cannot hold.
    """
    if card.base is not None:
        check_frozen(path, model)
    weights = model.state_dict()
    tensors = {_MODEL + name: weights[name].contiguous() for name in _stored_names(model, card)}
    if half:
        tensors = {name: _halved(path, name, value) for name, value in tensors.items()}
    if optimizer is not None:
        tensors |= _optimizer_tensors(optimizer)
    tensors |= {_EXTRA + name: value.contiguous() for name, value in (extra or {}).items()}
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata={"card": json.dumps(asdict(card))})
        partial.chmod(_READABLE)  # safetensors lets nobody but the owner read what it writes


def _halved(path: Path, name: str, value: Tensor) -> Tensor:
    rounded = value.half() if value.is_floating_point() else value
    if not rounded.isfinite().all():
        raise CheckpointError(
            f"{path} is not written: {name} holds {float(value.abs().max()):.3g}, and FP16 ends at "
            "65504; keep the checkpoint as it is"
        )
    return rounded


def load_checkpoint(path: Path, *, sam: Path | None = None) -> tuple[APSAM, Card]:
    """Build the model that a checkpoint holds, in evaluation mode. Raises CheckpointError.

    sam: the SAM file of a delta; without it, a file of the base's name beside the checkpoint.
    """
    card, weights = _read(path, _MODEL)
    model = build(_preset(path, card))
    if card.base is not None:
        load_base(path, card.base, model, sam=sam)
    elif sam is not None:
        raise needs_no_base(path, sam.name)
    _load_weights(path, model, card, weights)
    return model.eval(), card


def restore_checkpoint(
    path: Path, model: APSAM, optimizer: Optimizer, *, base: Base | None = None
) -> Card:
    """Load weights and optimiser state into a run. Raises CheckpointError.

    base: the SAM file whose weights the model holds already; a delta's own, None for a whole file.
    """
    card, weights = _read(path, _MODEL)
    check_base(path, card.base, loaded=base)
    _check_preset(path, card, model.preset)
    _load_weights(path, model, card, weights)
    _, state = _read(path, _OPTIMISER)
    if not state:
        raise CheckpointError(f"{path} has no optimiser state; resume from last.safetensors")
    _load_optimizer(optimizer, state)
    return card


def load_extra(path: Path) -> dict[str, Tensor]:
    """The `extra` tensors of a checkpoint, empty when it has none. Raises CheckpointError."""
    return _read(path, _EXTRA)[1]


def _read(path: Path, prefix: str) -> tuple[Card, dict[str, Tensor]]:
    """The card, and the tensors under `prefix` by the rest of their names."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
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


def _preset(path: Path, card: Card) -> Preset:
    """The preset to build for a file: this release's, with the category head the file has."""
    if card.preset not in PRESETS:
        raise CheckpointError(
            f"{path} is of preset {card.preset!r}; this release has {', '.join(PRESETS)}"
        )
    preset = PRESETS[card.preset]
    if _numbers(card)["num_categories"] == len(CATEGORIES):
        preset = replace(preset, num_categories=len(CATEGORIES))
    _check_preset(path, card, preset)
    return preset


def _numbers(card: Card) -> dict[str, Any]:
    """The preset's numbers in a file; one that presets got later has its default there."""
    defaults = {one.name: one.default for one in fields(Preset) if one.default is not MISSING}
    numbers: dict[str, Any] = json.loads(json.dumps(defaults)) | dict(card.preset_numbers)
    return numbers


def _check_preset(path: Path, card: Card, expected: Preset) -> None:
    if card.preset != expected.name:
        raise CheckpointError(
            f"{path} is of preset {card.preset!r}, but {expected.name!r} was asked for; "
            "use the other preset or another checkpoint"
        )
    found = _numbers(card)
    numbers = json.loads(json.dumps(asdict(expected)))
    changed = sorted(key for key in numbers if found.get(key) != numbers[key])
    if changed:
        raise CheckpointError(
            f"{path} was trained with other numbers of preset {card.preset!r} "
            f"({', '.join(changed)}); train again or use the release that wrote it"
        )


def _stored_names(model: APSAM, card: Card) -> list[str]:
    return [name for name in model.state_dict() if card.base is None or not is_sam(name)]


def _load_weights(path: Path, model: APSAM, card: Card, weights: Mapping[str, Tensor]) -> None:
    differing = sorted(set(_stored_names(model, card)) ^ set(weights))
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit preset {card.preset!r}: {reason}") from error
    if differing:
        raise CheckpointError(
            f"{path} does not fit preset {card.preset!r}: {len(differing)} tensors are missing or "
            f"unexpected ({', '.join(differing[:3])}); give a file written by `apsam-train fit`"
        )


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
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def versions() -> dict[str, str]:
    """Library versions that a card records."""
    return {"torch": torch.__version__}
