"""`apsam-train fit`: the training loop, top to bottom."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from apsam_train.checkpoint import Card, restore_checkpoint, save_checkpoint, versions
from apsam_train.config import TrainConfig, read_config
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import SampleSource
from apsam_train.data.training import EpochSampler, TrainingItem, TrainingSet, collate
from apsam_train.errors import CheckpointError, ConfigError
from apsam_train.models.build import build, preset
from apsam_train.optim import adamw, learning_rate
from apsam_train.progress import Progress
from apsam_train.prompt_training import PromptTraining

LAST, FINAL, LOG = "last.safetensors", "model.safetensors", "log.jsonl"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", default="paper", help="name or .toml file (default: paper)")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--minutes", type=float, help="train this long instead of config.epochs")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.safetensors")


def run(args: argparse.Namespace) -> int:
    """Train and say where the model is."""
    config = read_config(args.config)
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigError(f"--minutes {args.minutes} must be positive")
    source = open_dataset(args.data)
    try:
        model_file = fit(
            config, source=source, out=args.out, minutes=args.minutes, resume=args.resume
        )
    except KeyboardInterrupt:
        saved = (args.out / LAST).exists()
        advice = "go on with --resume" if saved else "nothing was saved yet"
        print(f"apsam-train fit: interrupted; {advice}", file=sys.stderr)
        return 130
    print(f"apsam-train fit: wrote {model_file}", file=sys.stderr)
    return 0


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


def fit(
    config: TrainConfig,
    *,
    source: SampleSource,
    out: Path,
    minutes: float | None = None,
    resume: bool = False,
) -> Path:
    """Train on `source` and write OUT/model.safetensors; returns its path.

    A run that was killed goes on from OUT/last.safetensors with `resume` and, when its length is
    given in epochs, ends with the same weights bit for bit. Raises CheckpointError, DatasetError.
    """
    _check_out(out, resume)
    fabric = Fabric(accelerator="auto", devices=1)
    fabric.seed_everything(config.seed, verbose=False)
    model = build(preset(config.preset))
    if config.trainable == "adapters":
        model.freeze_sam()
    optimizer = adamw(model, config)
    clock = Clock(
        num_steps=config.epochs * max(1, len(source) // config.batch_size), minutes=minutes
    )
    if resume and (out / LAST).exists():
        progress = restore_checkpoint(out / LAST, model, optimizer).training["progress"]
        clock.step, clock.elapsed_s = progress["step"], progress["elapsed_s"]

    training = PromptTraining(model, weights=config.loss, apg=config.apg)
    training, optimizer = fabric.setup(training, optimizer)
    batches = _batches(config, source, clock.step, fabric)

    def save(name: str) -> None:
        card = Card.of(model, _training_facts(config, source, clock))
        state = optimizer if name == LAST else None
        save_checkpoint(out / name, model, card, optimizer=state)

    training.train()
    with Progress(f"train {config.preset}") as progress_bar, (out / LOG).open("a") as log:
        while clock.share < 1:
            started = time.monotonic()
            rate = learning_rate(clock.share, step=clock.step, config=config)
            for group in optimizer.param_groups:
                group["lr"] = rate
            use_apg = clock.share >= config.apg_start and clock.step % 2 == 1
            loss, iou = training(next(batches), use_apg=use_apg, seed=clock.step)
            fabric.backward(loss)
            fabric.clip_gradients(training, optimizer, max_norm=config.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            clock.step += 1
            clock.elapsed_s += time.monotonic() - started
            if clock.step % config.log_every == 0:
                line = {"step": clock.step, "loss": loss.item(), "iou": iou.item(), "lr": rate}
                log.write(json.dumps(line | {"apg": use_apg}) + "\n")
                log.flush()
                message = f"step {clock.step} loss {line['loss']:.3f} IoU {line['iou']:.3f}"
                progress_bar.show(clock.share, message)
            if clock.step % config.save_every == 0:
                save(LAST)
    save(LAST)
    save(FINAL)
    (out / "card.json").write_text(
        json.dumps(asdict(Card.of(model, _training_facts(config, source, clock))), indent=2)
    )
    return out / FINAL


def _check_out(out: Path, resume: bool) -> None:
    if (out / LAST).exists() and not resume:
        raise CheckpointError(
            f"{out / LAST} exists: add --resume to go on from it, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)


def _batches(
    config: TrainConfig, source: SampleSource, first_step: int, fabric: Fabric
) -> Iterator[TrainingItem]:
    loader = DataLoader(
        TrainingSet(
            source,
            side=preset(config.preset).side,
            num_prompts=config.prompts_per_image,
            augment=config.augment,
            seed=config.seed,
        ),
        batch_size=config.batch_size,
        sampler=EpochSampler(
            num_samples=len(source),
            batch_size=config.batch_size,
            seed=config.seed,
            first_step=first_step,
        ),
        num_workers=config.num_workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if config.num_workers else None,
    )
    for item in loader:
        yield TrainingItem(
            image=fabric.to_device(item.image),
            target=fabric.to_device(item.target),
            clicks=fabric.to_device(item.clicks),
            valid_cells=item.valid_cells,
        )


def _training_facts(config: TrainConfig, source: SampleSource, clock: Clock) -> dict[str, Any]:
    return {
        "config": asdict(config),
        "data": source.description,
        "progress": asdict(clock),
        "versions": versions(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
