"""`apsam-train annotate`: rounds of model-assisted masks."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from apsam_serve.progress import Progress
from apsam_train.annotate.accept import UNCHANGED_IOU, accept
from apsam_train.annotate.collect import collect
from apsam_train.annotate.corrector import Annotator
from apsam_train.annotate.digests import model_sha256
from apsam_train.annotate.flags import Thresholds
from apsam_train.annotate.prompts import CHOICES
from apsam_train.annotate.proposals import ProposeOptions
from apsam_train.annotate.propose import propose
from apsam_train.annotate.record import WORK_LIST
from apsam_train.annotate.report import as_table, write_report
from apsam_train.annotate.sheet import write_sheet
from apsam_train.annotate.simulate import (
    RoundResult,
    SimulateOptions,
    as_simulated_table,
    simulate,
    trainer,
    write_results,
)
from apsam_train.config import read_config
from apsam_train.data import formats
from apsam_train.data.options import add_options, add_reading_options, open_from, tell
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.results import add_json, give
from apsam_train.tables import Table

_EXAMPLES = """a round, from boxes to the next training set:
  apsam-train annotate propose model.safetensors --data DIR --out rounds/1
  apsam-train annotate accept rounds/1 --corrected corrected.json --reviewer NAME
  apsam-train annotate collect rounds/1 --with DIR --out next
  apsam-train annotate report rounds/* --out rounds.md
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their options."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (purpose, declare, _) in _VERBS.items():
        verb = verbs.add_parser(name, help=purpose, description=purpose)
        declare(verb)
        add_json(verb)


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    _, _, act = _VERBS[args.verb]
    act(args)
    return 0


def _declare_propose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help="checkpoint (.safetensors), bundle folder or HOST:PORT")
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the round")
    parser.add_argument(
        "--prompt", default="auto", choices=CHOICES, help="default auto: what fits the box best"
    )
    parser.add_argument(
        "--refine", action="store_true", help="also outline anew what has a mask already"
    )
    parser.add_argument("--seed", type=int, default=0, help="of --prompt random")
    parser.add_argument(
        "--low-score", type=float, default=Thresholds.score, help="flag predicted IoUs below this"
    )
    parser.add_argument("--worst", type=int, default=40, help="proposals in worst.png; 0: none")


def _propose(args: argparse.Namespace) -> None:
    if not 0 <= args.low_score <= 1:
        raise ConfigError(f"--low-score {args.low_score} must lie in [0, 1]")
    if args.worst < 0 or args.seed < 0:
        raise ConfigError(f"--worst {args.worst} and --seed {args.seed} must be 0 or more")
    log = ProblemLog(strict=args.strict)
    dataset = open_from(args, log).in_table_7()
    segmenter = open_segmenter(args.target)
    thresholds = Thresholds(score=args.low_score)
    try:
        with Progress("propose") as bar:
            record = propose(
                segmenter,
                dataset,
                out=args.out,
                model=args.target,
                model_sha256=model_sha256(args.target),
                options=ProposeOptions(
                    prompt=args.prompt, refine=args.refine, seed=args.seed, thresholds=thresholds
                ),
                log=log,
                on_image=lambda done: bar.show(done / len(dataset), f"{done}/{len(dataset)}"),
            )
    finally:
        segmenter.close()
    tell(log, "annotate propose")
    if args.worst:
        write_sheet(args.out, num_worst=args.worst)
    done = record.proposed
    says = (
        f"{done.num_objects} masks in {done.num_images} images, {done.num_flagged} flagged, box "
        f"IoU {done.mean_box_iou:.1%}; work through {args.out / WORK_LIST}, worst first"
    )
    flags = Table(columns=("flag", "masks"), rows=list(done.flags.items()))
    give(
        {"out": args.out, **asdict(done)}, *([flags] if done.flags else []), says, as_json=args.json
    )


def _declare_accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("round", type=Path, help="folder of the round")
    parser.add_argument("--corrected", type=Path, required=True, help="COCO file from the tool")
    parser.add_argument("--reviewer", required=True, help="who corrected it")
    parser.add_argument(
        "--unchanged-iou",
        type=float,
        default=UNCHANGED_IOU,
        help=f"masks so alike count as unchanged (default {UNCHANGED_IOU})",
    )


def _accept(args: argparse.Namespace) -> None:
    with Progress("accept") as bar:
        bar.show(None, str(args.corrected))
        review = accept(
            args.round,
            corrected=args.corrected,
            reviewer=args.reviewer,
            unchanged_iou=args.unchanged_iou,
        )
    says = (
        f"review {review.number} by {review.reviewer}: {review.num_images} images, "
        f"{review.num_unchanged} unchanged, {review.num_corrected} corrected "
        f"({review.num_renamed} renamed), {review.num_added} added, {review.num_deleted} deleted; "
        f"proposal mIoU {review.miou:.1%}"
    )
    other = review.agreement
    agrees = (
        ""
        if other is None
        else (
            f"agreement with {other.with_reviewer}: mIoU {other.miou:.1%} over "
            f"{other.num_matched} objects, {other.num_unmatched} unmatched"
        )
    )
    give(asdict(review) | {"share_touched": review.share_touched}, says, agrees, as_json=args.json)


def _declare_collect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rounds", type=Path, nargs="+", help="accepted rounds, later ones win")
    parser.add_argument("--out", type=Path, required=True, help="new folder, COCO instances")
    parser.add_argument(
        "--with", type=Path, dest="extra", metavar="DIR", help="a data set to add, e.g. the first"
    )
    parser.add_argument("--split", default="", help="only the rounds' images of this split")
    parser.add_argument("--link", action="store_true", help="symbolic links in place of copies")
    add_reading_options(parser)


def _collect(args: argparse.Namespace) -> None:
    log = ProblemLog(strict=args.strict)
    extra = None
    if args.extra is not None:
        extra = formats.open_dataset(args.extra, format=args.format, log=log).in_table_7()
    with Progress("collect") as bar:
        bar.show(None, str(args.out))
        images = collect(
            args.rounds, out=args.out, extra=extra, split=args.split, link=args.link, log=log
        )
    tell(log, "annotate collect")
    num_objects = sum(len(image.objects) for image in images)
    document = {"out": args.out, "num_images": len(images), "num_objects": num_objects}
    says = f"{len(images)} images with {num_objects} objects in {args.out}"
    give(document | {"problems": log.to_json()}, says, as_json=args.json)


def _declare_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rounds", type=Path, nargs="+", help="accepted rounds, in order")
    parser.add_argument("--out", type=Path, required=True, help="FILE.md; the curve is FILE.png")


def _report(args: argparse.Namespace) -> None:
    if args.out.suffix != ".md":
        raise ConfigError(f"--out {args.out} must end in .md; the curve is written beside it")
    records = write_report(args.rounds, out=args.out)
    text, picture = args.out, args.out.with_suffix(".png")
    rounds = {
        name: asdict(one.reviews[-1]) | {"share_touched": one.reviews[-1].share_touched}
        for name, one in records.items()
    }
    document = {"report": text, "picture": picture, "rounds": rounds}
    give(document, as_table(records), f"wrote {text} and {picture}", as_json=args.json)


def _declare_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="images with truth, to draw from")
    parser.add_argument("--test", type=Path, required=True, help="held-out images with truth")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--rounds", type=int, default=5, help="after the start set (default 5)")
    parser.add_argument("--images-per-round", type=int, default=50, metavar="N")
    parser.add_argument("--config", default="tiny", help="name or .toml file (default: tiny)")
    parser.add_argument("--minutes", type=float, help="of each training, not config.epochs")
    parser.add_argument("--steps", type=int, metavar="N", help="about as many, in place of minutes")
    parser.add_argument(
        "--continued", action="store_true", help="go on from the last model; adds a control"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one of its values"
    )
    parser.add_argument("--prompt", default="auto", choices=CHOICES, help="as for propose")
    parser.add_argument(
        "--least-iou", type=float, default=Annotator.least_iou, help="what the annotator lets pass"
    )
    parser.add_argument("--budget", type=int, help="outlines drawn per round; default: no limit")
    parser.add_argument(
        "--miss-rate", type=float, default=Annotator.miss_rate, help="bad masks overlooked"
    )
    parser.add_argument("--seed", type=int, default=0)


def _simulate(args: argparse.Namespace) -> None:
    config = replace(read_config(args.config, args.set), seed=args.seed)
    for option in ("least_iou", "miss_rate"):
        value = getattr(args, option)
        if not 0 <= value <= 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value} must lie in [0, 1]")
    for option in ("minutes", "steps"):
        value = getattr(args, option)
        if value is not None and not value > 0:
            raise ConfigError(f"--{option} {value} must be positive")
    options = SimulateOptions(
        num_rounds=args.rounds,
        images_per_round=args.images_per_round,
        prompt=args.prompt,
        annotator=Annotator(least_iou=args.least_iou, budget=args.budget, miss_rate=args.miss_rate),
        continued=args.continued,
        seed=args.seed,
    )
    with Progress("simulate") as bar:

        def tell_round(result: RoundResult) -> None:
            says = f"round {result.number}: held-out mIoU {result.held_out_miou:.1%}"
            bar.show((result.number + 1) / (args.rounds + 1), says)
            print(says, file=sys.stderr)

        results = simulate(
            trainer(config, minutes=args.minutes, num_steps=args.steps),
            pool=formats.open_dataset(args.data).in_table_7(),
            held_out=formats.open_dataset(args.test).in_table_7(),
            out=args.out,
            options=options,
            on_round=tell_round,
        )
    command = shlex.join(["apsam-train", *sys.argv[1:]])
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPU cores"
    report = args.out / "report.md"
    write_results(results, out=report, command=command, machine=machine, options=options)
    document = {"report": report, "rounds": [asdict(one) for one in results]}
    give(document, as_simulated_table(results), f"wrote {report}", as_json=args.json)


_Verb = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]
_VERBS: dict[str, _Verb] = {
    "propose": ("masks for objects of which a box is known", _declare_propose, _propose),
    "accept": ("take a corrected file back, record its changes", _declare_accept, _accept),
    "collect": ("the next training set from accepted rounds", _declare_collect, _collect),
    "report": ("a table and a curve of the rounds", _declare_report, _report),
    "simulate": ("rounds on synthetic data, corrected by a program", _declare_simulate, _simulate),
}
