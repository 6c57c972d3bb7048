"""`apsam-train fit`: the training loop, top to bottom."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from apsam_train.checkpoint import (
    Card,
    load_checkpoint,
    load_extra,
    restore_checkpoint,
    save_checkpoint,
    versions,
)
from apsam_train.config import TrainConfig, read_config
from apsam_train.curves import CURVES, draw_curves, read_lines
from apsam_train.data import formats, options
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.delta import Base, base_of
from apsam_train.devices import is_main_process, make_fabric, resolve
from apsam_train.ema import Ema
from apsam_train.errors import CheckpointError, ConfigError
from apsam_train.feature_cache import FeatureCache
from apsam_train.files import write_whole
from apsam_train.loading import Batches
from apsam_train.models import APSAM, build, with_category_head
from apsam_train.models.build import preset
from apsam_train.optim import optimizer as make_optimizer
from apsam_train.prompt_training import PromptTraining
from apsam_train.results import add_json, give
from apsam_train.sam_weights import load_sam
from apsam_train.tables import Table
from apsam_train.trainable import choose_trainable, encoder_is_frozen
from apsam_train.training_loop import Clock, Loop
from apsam_train.validation import Validation

LAST, FINAL = "last.safetensors", "model.safetensors"
_FREE = [
    "epochs",
    "devices",
    "num_workers",
    "log_every",
    "save_every",
    "validate_every",
    "validation_images",
    "pictures_every",
]
"""What a resumed run may change: how long it goes on, and what does not touch its weights."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", default="paper", help="name or .toml file (default: paper)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one of its values"
    )
    options.add_options(parser)
    parser.add_argument("--val", type=Path, help="data set to score while training")
    parser.add_argument("--val-split", default="", help="only this split of --val")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--sam", type=Path, help="start from an official sam_vit_*.pth file")
    parser.add_argument("--start", type=Path, help="start from the weights of a checkpoint")
    parser.add_argument("--minutes", type=float, help="train this long instead of config.epochs")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.safetensors")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Train, draw the curves and say where the model is."""
    config = read_config(args.config, args.set)
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigError(f"--minutes {args.minutes} must be positive")
    log = ProblemLog(strict=args.strict)
    source = options.open_from(args, log)
    validation = None
    if args.val is not None:
        validation = formats.open_dataset(args.val, split=args.val_split, log=log)
    try:
        model_file = fit(
            config,
            source=source,
            out=args.out,
            validation=validation,
            start=args.start,
            sam=args.sam,
            minutes=args.minutes,
            resume=args.resume,
            problems=log,
        )
    except KeyboardInterrupt:
        saved = (args.out / LAST).exists()
        advice = "go on with --resume" if saved else "nothing was saved yet"
        print(f"apsam-train fit: interrupted; {advice}", file=sys.stderr)
        return 130
    if is_main_process():
        options.tell(log, "fit")
        print(f"apsam-train fit: wrote {model_file}", file=sys.stderr)
        document = outcome(args.out)
        give(document, _table(document), as_json=args.json)
    return 0


def outcome(out: Path) -> dict[str, Any]:
    """A finished run in figures, the last ones of its logbook among them; draws OUT/curves.png."""
    training = json.loads((out / "card.json").read_text(encoding="utf-8"))["training"]
    progress, lines = training["progress"], read_lines(out)
    title = f"{training['config']['preset']}: {progress['step']} steps on {training['data']}"
    drawn = draw_curves(out / CURVES, lines, title=title)
    return {
        "model": out / FINAL,
        "data": training["data"],
        "num_trainable": training["num_trainable"],
        "num_steps": progress["step"],
        "elapsed_s": progress["elapsed_s"],
        "last": {kind: dict(of_kind[-1]) for kind, of_kind in lines.items()},
        "curves": out / CURVES if drawn else None,
    }


def _table(document: dict[str, Any]) -> Table:
    last = {k: v for kind in document["last"].values() for k, v in kind.items() if k != "kind"}
    rows = [
        ("steps", f"{document['num_steps']:,}"),
        ("minutes", f"{document['elapsed_s'] / 60:.1f}"),
        ("trainable weights", f"{document['num_trainable']:,}"),
        *((f"last {name}", f"{last[name]:.4f}") for name in ("loss", "iou") if name in last),
        *((f"held-out {k}", f"{v * 100:.2f} %") for k, v in last.items() if k.startswith("miou_")),
    ]
    notes = (f"curves in {document['curves']}",) if document["curves"] else ()
    return Table(columns=("training", "value"), rows=rows, notes=notes)


def fit(
    config: TrainConfig,
    *,
    source: SampleSource,
    out: Path,
    validation: ImageDataset | None = None,
    start: Path | None = None,
    sam: Path | None = None,
    minutes: float | None = None,
    resume: bool = False,
    problems: ProblemLog | None = None,
) -> Path:
    """Train on `source` and write OUT/model.safetensors; returns its path.

    start: checkpoint whose weights are the first ones; sam: official SAM weights, to which the
    result of training adapters is a delta; problems: takes what is wrong with the data.
    A run that was killed goes on from OUT/last.safetensors with `resume` and, when its length is
    given in epochs, ends with the same weights bit for bit. Raises CheckpointError, ConfigError,
    DatasetError.
    """
    _check_out(out, resume)
    config = resolve(config)
    fabric = make_fabric(config)
    fabric.seed_everything(config.seed, verbose=False)
    model, base = _first_model(config, start=start, sam=sam)
    choose_trainable(model, config)
    raw_optimizer = make_optimizer(model, config)
    features = None
    if encoder_is_frozen(model) and config.augment == "none":
        features = FeatureCache(out / "features", model, data=source.description)
    training, optimizer = fabric.setup(
        PromptTraining(model, config, features=features), raw_optimizer
    )
    ema = Ema(model, decay=config.ema_decay) if config.ema_decay else None
    files = _Files(config=config, source=source, out=out, model=model, base=base, ema=ema)
    clock = Clock(
        num_steps=config.epochs * max(1, len(source) // config.batch_size), minutes=minutes
    )
    if resume and (out / LAST).exists():
        _restore(out / LAST, files, raw_optimizer, clock)
    loop = Loop(
        config=config,
        fabric=fabric,
        model=model,
        training=training,
        optimizer=optimizer,
        ema=ema,
        clock=clock,
        batches=Batches(
            config,
            source,
            first_step=clock.step,
            fabric=fabric,
            problems=ProblemLog() if problems is None else problems,
        ),
        validation=None if validation is None else Validation(validation, config),
        save=lambda: files.save_last(clock, raw_optimizer),
    )
    loop.run(out)
    if fabric.is_global_zero:
        files.save_last(clock, raw_optimizer)
        files.save_final(clock)
    fabric.barrier()
    return out / FINAL


@dataclass(frozen=True, kw_only=True, eq=False)
class _Files:
    """What a run leaves in OUT."""

    config: TrainConfig
    source: SampleSource
    out: Path
    model: APSAM
    base: Base | None
    ema: Ema | None

    def save_last(self, clock: Clock, optimizer: Optimizer) -> None:
        """What the run goes on from: weights, their average, the optimiser's state."""
        extra = None if self.ema is None else self.ema.average
        card = self._card(clock)
        save_checkpoint(self.out / LAST, self.model, card, optimizer=optimizer, extra=extra)

    def save_final(self, clock: Clock) -> None:
        """What the run hands over: the average where there is one, else the weights."""
        with nullcontext() if self.ema is None else self.ema.applied():
            save_checkpoint(self.out / FINAL, self.model, self._card(clock))
        text = json.dumps(asdict(self._card(clock)), indent=2)
        write_whole(self.out / "card.json", text + "\n")

    def _card(self, clock: Clock) -> Card:
        facts = {
            "config": asdict(self.config),
            "data": self.source.description,
            "progress": asdict(clock),
            "num_trainable": self.model.num_trainable(),
            "versions": versions(),
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }
        return Card.of(self.model, facts, base=self.base)


def _check_out(out: Path, resume: bool) -> None:
    if (out / LAST).exists() and not resume:
        raise CheckpointError(
            f"{out / LAST} exists: add --resume to go on from it, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)


def _first_model(
    config: TrainConfig, *, start: Path | None, sam: Path | None
) -> tuple[APSAM, Base | None]:
    """The model before its first step, and the SAM file it is a delta to."""
    numbers = preset(config.preset)
    model = build(numbers)
    base = None
    if start is not None:
        model, card = load_checkpoint(start, sam=sam)
        if card.preset != config.preset:
            raise CheckpointError(
                f"{start} is of preset {card.preset!r}, but the configuration says "
                f"{config.preset!r}; add --set 'preset=\"{card.preset}\"'"
            )
        base = card.base
    elif sam is not None:
        base = base_of(sam, load_sam(sam, model))
    if config.category_weight and model.category_head is None:
        model = with_category_head(model)
    return model, base if config.trainable != "all" else None


def _check_same(path: Path, card: Card, files: _Files) -> None:
    """Refuse to go on with other data or another recipe. Raises CheckpointError."""
    before, data = card.training, files.source.description
    if before["data"] != data:
        raise CheckpointError(
            f"{path} was trained on {before['data']}, not on {data}; resume with the same data, or "
            "begin a new run from its weights with --start"
        )
    config = json.loads(json.dumps(asdict(files.config)))
    changed = sorted(
        name
        for name, value in config.items()
        if name not in _FREE and before["config"].get(name, value) != value
    )
    if changed:
        raise CheckpointError(
            f"{path} was trained with another {', '.join(changed)}; resume with the same "
            "configuration, or begin a new run from its weights with --start"
        )


def _restore(path: Path, files: _Files, optimizer: Optimizer, clock: Clock) -> None:
    card = restore_checkpoint(path, files.model, optimizer, base=files.base)
    _check_same(path, card, files)
    progress = card.training["progress"]
    clock.step, clock.elapsed_s = progress["step"], progress["elapsed_s"]
    if files.ema is not None:
        files.ema.restore(load_extra(path))
