"""The loop itself: one step after the other, and what is written down in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from apsam_serve.progress import Progress
from apsam_train.asking import asked_at
from apsam_train.config import TrainConfig
from apsam_train.ema import Ema
from apsam_train.loading import Batches
from apsam_train.logbook import Logbook
from apsam_train.models import APSAM
from apsam_train.optim import learning_rate
from apsam_train.prompt_training import StepResult
from apsam_train.validation import Validation


@dataclass(kw_only=True)
class Clock:
    """How far a run is: by its steps, or by the clock when its length is given in minutes."""

    num_steps: int
    minutes: float | None
    step: int = 0
    elapsed_s: float = 0.0

    @property
    def share(self) -> float:
        """Share of the run that is done, from 0."""
        if self.minutes is not None:
            return self.elapsed_s / (60 * self.minutes)
        return self.step / self.num_steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """Everything a step touches."""

    config: TrainConfig
    fabric: Fabric
    model: APSAM
    training: Any
    optimizer: Any
    ema: Ema | None
    clock: Clock
    batches: Batches
    validation: Validation | None
    save: Callable[[], None]

    def run(self, out: Path) -> None:
        """Step until the clock says so; log, validate and save in between."""
        self.training.train()
        main = self.fabric.is_global_zero
        with (
            Progress(f"train {self.config.preset}", quiet=not main) as bar,
            Logbook(out) if main else nullcontext() as logbook,
        ):
            bar.show(self.clock.share, f"from step {self.clock.step}")
            while self._share() < 1:
                started = time.monotonic()
                values = self._step()
                self.clock.step += 1
                self.clock.elapsed_s += time.monotonic() - started
                if self.clock.step % self.config.log_every == 0:
                    self._log(logbook, bar, values)
                if logbook is not None:
                    self._validate(logbook, bar)
                if main and self.clock.step % self.config.save_every == 0:
                    self.save()

    def _validate(self, logbook: Logbook, bar: Progress) -> None:
        """Look at held-out images where that is due, through the average where there is one."""
        if self.validation is None or not self.validation.is_due(self.clock.step):
            return
        bar.show(self.clock.share, f"step {self.clock.step}, looking at held-out images")
        with nullcontext() if self.ema is None else self.ema.applied():
            self.validation.look(self.clock.step, self.model, logbook)

    def _share(self) -> float:
        """Every process must stop at the same step, and clocks differ."""
        if self.clock.minutes is not None and self.fabric.world_size > 1:
            self.clock.elapsed_s = self.fabric.broadcast(self.clock.elapsed_s)
        return self.clock.share

    def _step(self) -> dict[str, Any]:
        """One optimiser step over `accumulate` passes; its mean loss and IoU over all devices."""
        config, clock = self.config, self.clock
        rate = learning_rate(clock.share, step=clock.step, config=config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        asked = asked_at(clock.step, share=clock.share, config=config)
        results: list[StepResult] = []
        for number in range(config.accumulate):
            last = number == config.accumulate - 1
            item = next(self.batches)
            with self.fabric.no_backward_sync(self.training, enabled=not last):
                result = self.training(item, asked=asked)
                self.fabric.backward(result.loss / config.accumulate)
            results.append(result)
        self.fabric.clip_gradients(self.training, self.optimizer, max_norm=config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update(clock.step)
        return {"results": results, "asked": asked, "lr": rate}

    def _log(self, logbook: Logbook | None, bar: Progress, values: Mapping[str, Any]) -> None:
        """Write one line; all processes take part, the first one writes."""
        results: list[StepResult] = values["results"]
        means = {"loss": self._mean([r.loss for r in results])}
        means["iou"] = self._mean([r.iou for r in results])
        if results[0].category is not None:
            means["category"] = self._mean([r.category for r in results if r.category is not None])
        waited = self.batches.waited()
        if logbook is None:
            return
        line = means | {"lr": values["lr"], "asked": str(values["asked"]), "data_wait": waited}
        logbook.write(self.clock.step, "train", line)
        message = f"step {self.clock.step} loss {means['loss']:.3f} IoU {means['iou']:.3f}"
        bar.show(self.clock.share, message)
        bar.warn_once(self.batches.bottleneck(waited))

    def _mean(self, values: list[torch.Tensor]) -> float:
        mean = torch.stack([value.detach().float() for value in values]).mean()
        reduced: Any = self.fabric.all_reduce(mean, reduce_op="mean")
        return float(reduced)
