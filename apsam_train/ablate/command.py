"""`apsam-train ablate`: train and score the four arms of Table 4 over several seeds."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch

from apsam_serve.progress import Progress
from apsam_train.ablate.arms import ARMS, PROTOCOLS, Arm
from apsam_train.ablate.diagnosis import diagnose
from apsam_train.ablate.report import as_table, draw, report, verdict
from apsam_train.checkpoint import load_checkpoint
from apsam_train.config import TrainConfig, read_config
from apsam_train.data import formats, options
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.evaluate.protocols import PROTOCOLS as ALL_PROTOCOLS
from apsam_train.evaluate.score import Asking, score
from apsam_train.evaluate.sheet import Method, comparison, energy_maps
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.evaluate.summary import figures
from apsam_train.experiment import claim_folder
from apsam_train.files import write_whole
from apsam_train.fit import FINAL, fit
from apsam_train.pictures import write_picture
from apsam_train.results import add_json, give
from apsam_train.sam_weights import file_sha256
from apsam_train.segmenter import TorchSegmenter

_PROMPT_SEED = 0
"""Prompts are the same for all arms and training seeds: differences are the models'."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_options(parser)
    parser.add_argument("--test", type=Path, required=True, help="data set to score on")
    parser.add_argument("--test-split", default="", help="only this split of --test")
    parser.add_argument("--config", default="paper", help="name or .toml file (default: paper)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one of its values"
    )
    parser.add_argument("--sam", type=Path, help="every arm starts from this sam_vit_*.pth")
    parser.add_argument("--start", type=Path, help="every arm starts from this checkpoint")
    parser.add_argument("--seeds", default="0,1,2", help="training seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and report")
    parser.add_argument("--rows", type=int, default=6, help="images on a sheet")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, then write OUT/ablation.{json,md,png} and sheets."""
    config = read_config(args.config, args.set)
    seeds = options.parse_seeds(args.seeds)
    log = ProblemLog(strict=args.strict)
    source = options.open_from(args, log)
    test = formats.open_dataset(args.test, split=args.test_split, log=log)
    _check_same(args, config, source, test)
    results: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in ARMS}
    with Progress("ablate") as bar:
        for number, (seed, arm) in enumerate(product(seeds, ARMS)):
            bar.show(number / (len(seeds) * len(ARMS)), f"{arm.title}, seed {seed}")
            results[arm.name].append(_one(args, arm, seed, config, source, test, log))
        bar.show(1, "all arms")
    facts = _facts(args, config, source, test, results)
    page = report(results, facts=facts)
    write_whole(args.out / "ablation.json", json.dumps(results, indent=2) + "\n")
    write_whole(args.out / "ablation.md", page)
    draw(args.out / "ablation.png", results)
    _draw(args, seeds[0], test)
    options.tell(log, "ablate")
    document = {"facts": facts, "arms": results, "problems": log.to_json()}
    written = f"report in {args.out / 'ablation.md'}"
    give(document, as_table(results), verdict(results), written, as_json=args.json)
    return 0


def _check_same(
    args: argparse.Namespace, config: TrainConfig, source: ImageDataset, test: ImageDataset
) -> None:
    """Refuse to mix runs of two experiments in one folder. Raises CheckpointError."""
    start = args.start or args.sam
    experiment = {
        "config": repr(config),
        "data": source.description,
        "test": test.description,
        "start": file_sha256(start) if start else "",
    }
    claim_folder(args.out, experiment)


def _one(
    args: argparse.Namespace,
    arm: Arm,
    seed: int,
    config: TrainConfig,
    source: ImageDataset,
    test: ImageDataset,
    log: ProblemLog,
) -> dict[str, Any]:
    """Train and score one arm with one seed, unless that was done before."""
    folder = args.out / f"{arm.name}_{seed}"
    result_file = folder / "result.json"
    if result_file.exists():
        done: dict[str, Any] = json.loads(result_file.read_text())
        return done
    if not (folder / FINAL).exists():
        print(f"apsam-train ablate: {arm.title}, seed {seed}", file=sys.stderr)
        fit(
            arm.config(config, seed=seed),
            source=source,
            out=folder,
            start=args.start,
            sam=args.sam,
            resume=True,
            problems=log,
        )
    result = _scored(args, arm, folder / FINAL, test, log)
    write_whole(result_file, json.dumps(result, indent=2) + "\n")
    return result


def _scored(
    args: argparse.Namespace, arm: Arm, checkpoint: Path, test: ImageDataset, log: ProblemLog
) -> dict[str, Any]:
    model, card = load_checkpoint(checkpoint, sam=args.sam)
    askings = [Asking(protocol=name, seed=_PROMPT_SEED) for name in PROTOCOLS]
    own = Asking(protocol=arm.protocol, seed=_PROMPT_SEED)
    with Progress(f"score {arm.title}") as bar:

        def show(done: int) -> None:
            bar.show(done / len(test), test.description)

        scores = score(TorchSegmenter(model, apg=card.apg), test, askings, log=log, on_image=show)
    found = diagnose(model, test, scores, apg=card.apg, energy=arm.energy, asking=own)
    trained_s = card.training["progress"]["elapsed_s"]
    return figures(scores) | {"diagnosis": found, "trained_s": trained_s}


def _start_scored(args: argparse.Namespace, test: ImageDataset) -> str:
    """The common start as it is, the paper's frozen SAM, in words; "" for fresh weights."""
    start = args.start or args.sam
    if start is None:
        return "fresh weights"
    file = args.out / "start.json"
    if not file.exists():
        segmenter = open_segmenter(str(start), sam=args.sam if args.start else None)
        asking = Asking(protocol="random1", seed=_PROMPT_SEED)
        write_whole(file, json.dumps(figures(score(segmenter, test, [asking]))) + "\n")
    means = json.loads(file.read_text())["protocols"]["random1"]
    scored = f"{means['miou'] * 100:.2f} mIoU, {means['dice'] * 100:.2f} Dice with random1"
    return f"{start}, which as it is reaches {scored}"


def _facts(
    args: argparse.Namespace,
    config: TrainConfig,
    source: ImageDataset,
    test: ImageDataset,
    results: dict[str, list[dict[str, Any]]],
) -> dict[str, str]:
    any_result = results[ARMS[0].name][0]
    minutes = sum(one["trained_s"] for many in results.values() for one in many) / 60
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "command": f"`apsam-train {shlex.join(sys.argv[1:])}`",
        "training": f"{source.description}; {config.epochs} epochs of batch {config.batch_size}",
        "test": f"{test.description}, {any_result['num_instances']} objects",
        "start": _start_scored(args, test),
        "machine": f"{device}, {platform.machine()}, torch {torch.__version__}",
        "time": f"{minutes:.0f} minutes of training in all",
    }


def _draw(args: argparse.Namespace, seed: int, test: ImageDataset) -> None:
    """Figure 6 with the arms as methods, figure 7."""
    methods = {
        arm.title: Method(
            segmenter=open_segmenter(str(args.out / f"{arm.name}_{seed}" / FINAL), sam=args.sam),
            protocol=ALL_PROTOCOLS[arm.protocol],
        )
        for arm in ARMS
    }
    sheet = comparison(test, methods, seed=_PROMPT_SEED, num_rows=args.rows)
    write_picture(args.out / "figure_6.jpg", sheet)
    write_picture(args.out / "figure_7.jpg", energy_maps(test, num_rows=args.rows))
