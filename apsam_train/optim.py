"""The optimisers and their schedule (paper 5.1: AdamW, linear warm-up)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import AdamW

from apsam_train.config import TrainConfig

_LAST_PART = 0.2
"""Share of a run in which a trapezoid falls; until then the run can still be made longer."""
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz step: steepest at zero, and never beyond about 1 (Jordan)."""
_ADAM_RMS = 0.2
"""Root mean square of AdamW's updates, which Muon's are scaled to, for one rate (Liu 2025, 2.2)."""


def optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """The optimiser over the trainable parameters; weight decay on matrices only."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    matrices = {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay}
    others = {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0}
    if config.optimizer == "adamw":
        return AdamW([matrices, others], lr=config.learning_rate)
    return Muon([matrices], [others], lr=config.learning_rate)


class Muon(AdamW):
    """Matrices take orthogonal steps, all else AdamW's (Jordan 2024, "Muon: an optimizer for hidden
    layers"; Liu 2025, "Muon is scalable for LLM training").

    A gradient's few large directions drown the many small ones; the orthogonal factor of the
    momentum has all of them alike. A convolution is the matrix of its outputs. `torch.optim.Muon`
    takes no convolutions, and computes in bfloat16, which many CPUs lack.
    """

    def __init__(
        self,
        matrices: Iterable[dict[str, Any]],
        others: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        iterations: int = 5,
    ) -> None:
        """matrices, others: parameter groups."""
        groups = [{**group, "orthogonal": True} for group in matrices]
        groups += [{**group, "orthogonal": False} for group in others]
        super().__init__(groups, lr=lr)
        self._momentum = momentum
        self._iterations = iterations

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._turn(group)
        super().step()
        return loss

    def _turn(self, group: dict[str, Any]) -> None:
        """The group's step; AdamW passes over it then, because its gradients are spent."""
        parameters = [p for p in group["params"] if p.grad is not None]
        ahead = [self._ahead(parameter) for parameter in parameters]
        for parameter, direction in zip(parameters, self._factors(ahead), strict=True):
            size = group["lr"] * _ADAM_RMS * math.sqrt(max(direction.shape))
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(direction.view_as(parameter), alpha=-size)

    def _ahead(self, parameter: Tensor) -> Tensor:
        """Nesterov's momentum as a matrix; takes the gradient."""
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            # AdamW's names: it looks into all states when it goes on from a saved one.
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
        mean: Tensor = state["exp_avg"]
        mean.lerp_(gradient, 1 - self._momentum)
        return gradient.lerp(mean, self._momentum).flatten(1)

    def _factors(self, matrices: list[Tensor]) -> list[Tensor]:
        """Their orthogonal factors; every process computes its share and all get all."""
        shared = dist.is_available() and dist.is_initialized()
        rank, world = (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)
        factors = [
            orthogonal_factor(matrix, iterations=self._iterations)
            if number % world == rank
            else torch.zeros_like(matrix)
            for number, matrix in enumerate(matrices)
        ]
        if world > 1:
            everything = torch.cat([factor.flatten() for factor in factors])
            dist.all_reduce(everything)
            parts = torch.split(everything, [factor.numel() for factor in factors])
            factors = [part.view_as(old) for part, old in zip(parts, factors, strict=True)]
        return factors


def orthogonal_factor(matrix: Tensor, *, iterations: int) -> Tensor:
    """About U V' of matrix = U S V', [M, N], by Newton-Schulz iterations: singular values come to
    lie near 1, between about 0.7 and 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = _QUINTIC
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def learning_rate(share: float, *, step: int, config: TrainConfig) -> float:
    """Rate of a step at `share` of the run: linear warm-up, then as `config.schedule` says."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = 1 - min(1.0, share)
    if config.schedule == "cosine":
        warm *= 0.5 * (1 - math.cos(math.pi * left))
    elif config.schedule == "trapezoid":
        warm *= min(1.0, left / _LAST_PART)
    return config.learning_rate * warm
