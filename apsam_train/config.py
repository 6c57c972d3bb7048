"""Training configuration: one frozen record, read from TOML, resolved before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from apsam_serve.contract.apg import ApgConfig
from apsam_train.data.augment import Augment
from apsam_train.errors import ConfigError
from apsam_train.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe. Defaults are the paper's (5.1).

    Model: preset, one of `models.build`; trainable, which parts learn (`trainable`); energy, False
    for the ablation without the Energy-Aware Encoder.
    Prompts: batch_size in images over all devices, prompts_per_image objects each; apg_start: share
    of the training after which every other step trains the decode on adaptive points; apg: the
    generator in training; box_share, refine_share: shares of the
    steps that prompt with boxes, and with a second click and the mask that it corrects.
    Categories: category_weight > 0 trains a category head; category_labels: "coarse" tells it no
    more than superclasses (paper 9); negatives_per_image: clicks beside all objects, whose category
    is none; cell_weight > 0 has every cell of a `Pyramid` say what lies there and
    how far it reaches (`cell_loss`).
    Steps: optimizer, "muon" for what starts from scratch (`optim.Muon`); learning_rate after
    warmup_steps; schedule: "constant" (the paper), "cosine" down to zero, or "trapezoid", constant
    until the last fifth of the run and then straight down to zero.
    Data: augment, how samples vary: "view" turns and crops them, "scanner" also shows them as other
    makers' machines would (`data.augment`), scanner_share of them so and the others as "view"
    does; sides: of the pictures, one of them for all of a step; none: the preset's own side. A
    `Pyramid` learns on small pictures what it needs for large ones, in a part of the time.
    closeups: share of the small pictures that are not shrunk but cut to the surroundings of one
    object, as large there as at the preset's side (Singh 2018, SNIPER).
    Machine: devices, 0 for all there are; precision "auto" is the best the device has; accumulate:
    passes that make one step; checkpointing: compute activations twice instead of keeping them;
    ema_decay > 0 keeps an average of the weights, which is what the run hands over.
    Looking in: log_every, save_every, validate_every and pictures_every in steps;
    validation_images: how many of --val are scored while training.
    """

    preset: str = "vit_l"
    trainable: Literal["adapters", "energy", "category", "all"] = "adapters"
    energy: bool = True
    seed: int = 0
    epochs: int = 12
    batch_size: int = 16
    prompts_per_image: int = 4
    negatives_per_image: int = 0
    category_weight: float = 0.0
    category_labels: Literal["fine", "coarse"] = "fine"
    cell_weight: float = 0.0
    box_share: float = 0.0
    refine_share: float = 0.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Literal["constant", "cosine", "trapezoid"] = "constant"
    clip_norm: float = 1.0
    augment: Augment = "view"
    scanner_share: float = 1.0
    sides: tuple[int, ...] = ()
    closeups: float = 0.0
    apg_start: float = 0.0
    devices: int = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    ema_decay: float = 0.0
    num_workers: int = 1
    log_every: int = 10
    save_every: int = 200
    validate_every: int = 500
    validation_images: int = 32
    pictures_every: int = 500
    loss: LossWeights = field(default_factory=LossWeights)
    apg: ApgConfig = field(default_factory=lambda: ApgConfig(scale_range=(0.9, 1.1)))


def read_config(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """A TOML file, or the name of one in `apsam_train/configs`; overrides: "key=value" in TOML's
    notation ("seed=3", "loss.focal=2.0", 'preset="vit_b"'). Raises ConfigError."""
    file = Path(name)
    if file.suffix == ".toml":
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        return parse_config(text, source=str(file), overrides=overrides)
    folder = resources.files("apsam_train") / "configs"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.is_file())
    if name not in known:
        raise ConfigError(
            f"config {name!r} is unknown; choose one of {', '.join(known)}, or give a .toml file"
        )
    return parse_config(
        (folder / f"{name}.toml").read_text(encoding="utf-8"), source=name, overrides=overrides
    )


def parse_config(text: str, *, source: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Parse TOML; every key must be a field of TrainConfig, of the field's type."""
    document = _toml(text, source)
    for override in overrides:
        _merge(document, _toml(override, f"--set {override}"))
    tables = {"loss": LossWeights(), "apg": TrainConfig().apg}
    values = {
        key: _filled(value, tables[key], f"{source} [{key}]") if key in tables else value
        for key, value in document.items()
    }
    config: TrainConfig = _filled(values, TrainConfig(), source)
    _check(config, source)
    return config


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML (key=value, text in quotes): {error}") from error


def _merge(document: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            document[key] |= value
        else:
            document[key] = value


def _filled(values: dict[str, Any], default: Any, where: str) -> Any:
    types = {f.name: type(getattr(default, f.name)) for f in fields(default)}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"{where} has no field {key!r}; known: {', '.join(sorted(types))}")
        if types[key] is float and type(value) is int:
            values[key] = float(value)
        elif types[key] is tuple and isinstance(value, list):
            values[key] = tuple(value)
        elif not isinstance(value, types[key]):
            raise ConfigError(f"{where}: {key} = {value!r} must be {types[key].__name__}")
    return replace(default, **values)


def _check(config: TrainConfig, source: str) -> None:
    hints = get_type_hints(TrainConfig)
    for key, hint in hints.items():
        if get_origin(hint) is Literal and getattr(config, key) not in get_args(hint):
            raise ConfigError(
                f"{source}: {key} = {getattr(config, key)!r} must be one of "
                f"{', '.join(get_args(hint))}"
            )
    positive = (
        "epochs batch_size prompts_per_image learning_rate accumulate log_every save_every "
        "validate_every validation_images pictures_every"
    )
    for key in positive.split():
        if getattr(config, key) <= 0:
            raise ConfigError(f"{source}: {key} = {getattr(config, key)} must be positive")
    for key in ("devices", "negatives_per_image", "num_workers", "category_weight", "cell_weight"):
        if getattr(config, key) < 0:
            raise ConfigError(f"{source}: {key} = {getattr(config, key)} must not be negative")
    for key in ("apg_start", "box_share", "refine_share", "closeups", "scanner_share", "ema_decay"):
        if not 0 <= getattr(config, key) <= 1:
            raise ConfigError(f"{source}: {key} = {getattr(config, key)} must lie in 0 to 1")
    if any(not isinstance(side, int) or side <= 0 or side % 16 for side in config.sides):
        raise ConfigError(f"{source}: sides = {list(config.sides)} must be multiples of 16")
    if not config.apg.core >= 0:
        raise ConfigError(f"{source} [apg]: core = {config.apg.core} must not be negative")
    if config.trainable == "category" and config.category_weight == 0:
        raise ConfigError(f"{source}: trainable = 'category' needs category_weight > 0")
