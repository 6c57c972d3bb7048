"""`apsam-train labels compare`: heads trained on fine labels against heads trained on coarse ones,
on the same frozen model (paper 9)."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from apsam_serve.progress import Progress
from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.config import TrainConfig, read_config
from apsam_train.data import formats, options
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError
from apsam_train.experiment import claim_folder
from apsam_train.files import write_whole
from apsam_train.fit import FINAL, fit
from apsam_train.labels.arms import ARMS, Arm, measure
from apsam_train.labels.compare_report import (
    as_json,
    as_markdown,
    as_table,
    draw,
    verdict,
)
from apsam_train.labels.head import HeadReader
from apsam_train.models import APSAM
from apsam_train.results import add_json, give
from apsam_train.sam_weights import file_sha256

PROTOCOLS = ("random1", "box")
_HEADLESS = "start.safetensors"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_options(parser)
    parser.add_argument("--test", type=Path, required=True, help="data set to score on")
    parser.add_argument("--test-split", default="", help="only this split of --test")
    parser.add_argument(
        "--start", type=Path, required=True, help="the frozen model; a head it has is left out"
    )
    parser.add_argument("--sam", type=Path, help="the SAM file, when --start is a delta")
    parser.add_argument("--config", default="paper", help="name or .toml file (default: paper)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one of its values"
    )
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="random1", help="test prompts (default random1)"
    )
    parser.add_argument("--seeds", default="0,1,2", help="training seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and report")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, then write OUT/report.md, report.json and report.png."""
    config = read_config(args.config, args.set)
    if config.category_labels != "fine":
        raise ConfigError(
            f"category_labels = {config.category_labels!r} is what is compared: leave it out"
        )
    seeds = options.parse_seeds(args.seeds)
    log = ProblemLog(strict=args.strict)
    source = options.open_from(args, log)
    test = formats.open_dataset(args.test, split=args.test_split, log=log)
    model, card = load_checkpoint(args.start, sam=args.sam)
    config = replace(config, preset=card.preset)
    experiment = {
        "config": repr(config),
        "data": source.description,
        "test": test.description,
        "protocol": args.protocol,
        "start": file_sha256(args.start),
    }
    claim_folder(args.out, experiment)
    base = None if card.base is None else args.start.with_name(card.base["file"])
    run_one = _Runner(
        out=args.out,
        start=_without_head(args, model, card),
        sam=args.sam or base,
        config=config,
        protocol=args.protocol,
        source=source,
        test=test,
        log=log,
    )
    results: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in ARMS}
    with Progress("labels compare") as bar:
        for number, (arm, seed) in enumerate(product(ARMS, seeds)):
            bar.show(number / (len(ARMS) * len(seeds)), f"{arm.title}, seed {seed}")
            results[arm.name].append(run_one(arm, seed))
        bar.show(1, "all heads")
    facts = _facts(args, config, source, test)
    report = as_json(results, seeds=seeds, facts=facts) | {"problems": log.to_json()}
    write_whole(args.out / "report.json", json.dumps(report, indent=2) + "\n")
    write_whole(args.out / "report.md", as_markdown(results, facts=facts))
    draw(args.out / "report.png", results)
    options.tell(log, "labels compare")
    written = f"report in {args.out / 'report.md'}"
    give(report, as_table(results), verdict(results), written, as_json=args.json)
    return 0


def _without_head(args: argparse.Namespace, model: APSAM, card: Card) -> Path:
    """The checkpoint that every run starts from: --start, or a copy of it without its head.

    A head that was trained before has seen labels of one kind, and would carry them into both arms.
    """
    start: Path = args.start
    if model.category_head is None:
        return start
    model.category_head = None
    model.preset = replace(model.preset, num_categories=0)
    headless: Path = args.out / _HEADLESS
    save_checkpoint(headless, model, Card.of(model, card.training, base=card.base))
    return headless


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runner:
    """What all runs share."""

    out: Path
    start: Path
    sam: Path | None
    config: TrainConfig
    protocol: str
    source: ImageDataset
    test: ImageDataset
    log: ProblemLog

    def __call__(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Train and score one head, unless that was done before."""
        folder = self.out / f"{arm.name}_{seed}"
        result_file = folder / "result.json"
        if result_file.exists():
            done: dict[str, Any] = json.loads(result_file.read_text())
            return done
        if not (folder / FINAL).exists():
            print(f"apsam-train labels compare: {arm.title}, seed {seed}", file=sys.stderr)
            _share_features(folder, self.out)
            fit(
                arm.config(self.config, seed=seed),
                source=self.source,
                out=folder,
                start=self.start,
                sam=self.sam,
                resume=True,
                problems=self.log,
            )
        with Progress(f"score {folder.name}") as bar:
            result = measure(
                HeadReader(folder / FINAL, sam=self.sam),
                self.test,
                protocol=self.protocol,
                log=self.log,
                on_image=lambda done: bar.show(done / len(self.test), self.test.description),
            )
        write_whole(result_file, json.dumps(result, indent=2) + "\n")
        return result


def _share_features(folder: Path, out: Path) -> None:
    """Let all runs keep the frozen encoder's embeddings in one place: they have one encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    (out / "features").mkdir(exist_ok=True)
    link = folder / "features"
    if not link.exists():
        link.symlink_to(Path("..") / "features", target_is_directory=True)


def _facts(
    args: argparse.Namespace, config: TrainConfig, source: ImageDataset, test: ImageDataset
) -> dict[str, str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "command": f"`{shlex.join(['apsam-train', *sys.argv[1:]])}`",
        "frozen model": str(args.start),
        "training": f"{source.description}; the head alone, {config.epochs} epochs of batch "
        f"{config.batch_size}, augment {config.augment!r}",
        "test": f"{test.description}, prompts {args.protocol}",
        "machine": f"{device}, {platform.machine()}, torch {torch.__version__}",
    }
