"""Training configuration: one frozen record, read from TOML, resolved before anything runs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from apsam_serve.contract.apg import ApgConfig
from apsam_train.errors import ConfigError
from apsam_train.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe. Defaults are the paper's (5.1).

    preset: a model of `models.build`; trainable: "adapters" (and energy parts) or "all";
    batch_size in images, prompts_per_image objects each; apg_start: share of the training after
    which every other step trains the decode on adaptive points; apg: the generator in training.
    """

    preset: str = "vit_l"
    trainable: Literal["adapters", "all"] = "adapters"
    seed: int = 0
    epochs: int = 12
    batch_size: int = 16
    prompts_per_image: int = 4
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: float = 1.0
    augment: bool = True
    apg_start: float = 0.0
    num_workers: int = 1
    log_every: int = 10
    save_every: int = 200
    loss: LossWeights = field(default_factory=LossWeights)
    apg: ApgConfig = field(default_factory=lambda: ApgConfig(scale_range=(0.9, 1.1)))


def read_config(name: str) -> TrainConfig:
    """A TOML file, or the name of one in `apsam_train/configs`. Raises ConfigError."""
    file = Path(name)
    if file.suffix == ".toml":
        try:
            return parse_config(file.read_text(), source=str(file))
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    folder = resources.files("apsam_train") / "configs"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.is_file())
    if name not in known:
        raise ConfigError(
            f"config {name!r} is unknown; choose one of {', '.join(known)}, or give a .toml file"
        )
    return parse_config((folder / f"{name}.toml").read_text(), source=name)


def parse_config(text: str, *, source: str) -> TrainConfig:
    """Parse TOML; every key must be a field of TrainConfig, of the field's type."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    tables = {"loss": LossWeights(), "apg": TrainConfig().apg}
    values = {
        key: _filled(value, tables[key], f"{source} [{key}]") if key in tables else value
        for key, value in document.items()
    }
    config: TrainConfig = _filled(values, TrainConfig(), source)
    _check(config, source)
    return config


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
    choices = {
        "trainable": ("adapters", "all"),
        "schedule": ("constant", "cosine"),
    }
    for key, allowed in choices.items():
        if getattr(config, key) not in allowed:
            raise ConfigError(
                f"{source}: {key} = {getattr(config, key)!r} must be one of {', '.join(allowed)}"
            )
    for key in ("epochs", "batch_size", "prompts_per_image", "learning_rate", "save_every"):
        if getattr(config, key) <= 0:
            raise ConfigError(f"{source}: {key} = {getattr(config, key)} must be positive")
