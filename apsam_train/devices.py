"""Devices, precision and processes: one Fabric for a laptop, a workstation or `torchrun`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from apsam_train.config import TrainConfig
from apsam_train.errors import ConfigError

_FABRIC: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def resolve(config: TrainConfig) -> TrainConfig:
    """Replace "auto" and 0 by what this machine has. Raises ConfigError for what it lacks.

    Half precision is refused on a CPU: some that report bf16 die with an illegal instruction, the
    others are slower than with fp32.
    """
    on_gpu = torch.cuda.is_available()
    precision = config.precision
    if precision == "auto":
        precision = "fp32"
        if on_gpu:
            precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    elif precision != "fp32" and not on_gpu:
        raise ConfigError(f"precision {precision!r} needs a GPU; use fp32 or auto on this machine")
    launched = int(os.environ.get("LOCAL_WORLD_SIZE", 0))
    available = torch.cuda.device_count() if on_gpu else launched or config.devices or 1
    devices = launched or config.devices or available
    if launched and config.devices not in (0, 1, launched):
        raise ConfigError(f"torchrun started {launched} processes, but devices = {config.devices}")
    if devices > available:
        raise ConfigError(f"devices = {devices}, but this machine has {available} GPU(s)")
    return replace(config, precision=precision, devices=devices)


def is_main_process() -> bool:
    """Whether this process speaks for all: the first of a run over several."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0


def make_fabric(config: TrainConfig) -> Fabric:
    """A launched Fabric for a resolved configuration."""
    num_nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    alone = config.devices == 1 and num_nodes == 1
    fabric = Fabric(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=config.devices,
        num_nodes=num_nodes,
        precision=_FABRIC[config.precision],
        # Box and mask prompts are parts of the model that a step on clicks leaves out.
        strategy="auto" if alone else DDPStrategy(find_unused_parameters=True),
    )
    fabric.launch()
    return fabric
