"""`apsam-train labels score`: how often a model names an object's category."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_serve.progress import Progress
from apsam_train.categories import CATEGORIES, CLASSES, SUPERCLASSES
from apsam_train.data import options
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import DatasetError
from apsam_train.evaluate.score import Asking
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.files import write_whole
from apsam_train.labels.accuracy import confusions, figures, over_seeds, per_class
from apsam_train.labels.answers import Answers, collect
from apsam_train.labels.confusion_picture import draw_confusion, superclass_blocks
from apsam_train.results import add_json, give
from apsam_train.tables import Table

PROTOCOLS = ("random1", "apg", "box")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "target", metavar="TARGET", help=".safetensors checkpoint, bundle folder or HOST:PORT"
    )
    options.add_options(parser)
    parser.add_argument("--sam", type=Path, help="the SAM file of a delta checkpoint")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="random1", help="prompts (default random1)"
    )
    parser.add_argument("--seeds", default="0", help="prompt seeds, e.g. 0,1,2")
    parser.add_argument("--out", type=Path, required=True, help="folder for labels.json, pictures")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, print a table, write labels.json, confusion.png and superclasses.png."""
    askings = [
        Asking(protocol=args.protocol, seed=seed) for seed in options.parse_seeds(args.seeds)
    ]
    log = ProblemLog(strict=args.strict)
    source = options.open_from(args, log)
    segmenter = open_segmenter(args.target, sam=args.sam)
    try:
        with Progress("labels") as bar:
            answers = collect(
                segmenter,
                source,
                askings,
                target=args.target,
                log=log,
                on_image=lambda done: bar.show(done / len(source), source.description),
            )
    finally:
        segmenter.close()
    report = as_report(answers)
    if not report["num_objects"]:
        names = ", ".join(list(report["outside"])[:10]) or "no outlined objects"
        raise DatasetError(
            f"{source.description}: no object has a category of Table 7 (found: {names}); give its "
            "names a place with `apsam-train curate --category-map`"
        )
    facts = {"target": args.target, "data": source.description, "protocol": args.protocol}
    report = facts | {"seeds": args.seeds} | report | {"problems": log.to_json()}
    args.out.mkdir(parents=True, exist_ok=True)
    write_whole(args.out / "labels.json", json.dumps(report, indent=2) + "\n")
    _draw(args.out, answers, f"{Path(args.target).name} on {source.description}, {args.protocol}")
    options.tell(log, "labels score")
    written = f"all figures in {args.out / 'labels.json'}, pictures beside it"
    give(report, *as_tables(report), written, as_json=args.json)
    return 0


def as_report(answers: Answers) -> dict[str, Any]:
    """Plain values; confusion matrices and categories over all seeds together."""
    by_seed = list(answers.by_asking.values())
    fine, coarse = confusions([one for named in by_seed for one in named])
    return over_seeds([figures(named) for named in by_seed]) | {
        "num_images": answers.num_images,
        "num_boxes_left_out": answers.num_boxes,
        "by_seed": [figures(named) for named in by_seed],
        "categories": per_class(fine),
        "confusion": {
            "truth": list(CATEGORIES),
            "answer": list(CLASSES),
            "counts": fine.tolist(),
        },
        "superclass_confusion": {
            "truth": list(SUPERCLASSES),
            "answer": [CLASSES[0], *SUPERCLASSES],
            "counts": coarse.tolist(),
        },
    }


def as_tables(report: Mapping[str, Any]) -> tuple[Table, Table]:
    """The headline, then a line per category that occurs."""
    num_seeds = len(report["by_seed"])
    titles = {"top1": "category", "macro": "macro average", "superclass": "superclass"}
    headline = [
        (title, _percent(report[name]), _percent(report.get(f"{name}_spread")))
        for name, title in (titles | {"none": "answered none"}).items()
    ]
    note = (
        f"{report['num_objects']} objects: {report['num_fine']} with a category, "
        f"{report['num_superclass_only']} with a superclass only; left out: "
        f"{report['num_outside']} outside Table 7, {report['num_boxes_left_out']} without outline"
    )
    categories = [
        (
            *(one["name"], one["num_asked"] // num_seeds),
            *(_percent(one["accuracy"]), _percent(one["precision"])),
            f"{one['taken_for']} {one['taken_for_share']:.0%}" if one["taken_for"] else "",
        )
        for one in report["categories"]
        if one["num_asked"]
    ]
    columns = ("category", "objects", "right %", "precision %", "taken for")
    return (
        Table(columns=("accuracy %", "mean", "spread"), rows=headline, notes=(note,)),
        Table(columns=columns, rows=categories),
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f}"


def _draw(out: Path, answers: Answers, title: str) -> None:
    fine, coarse = confusions([one for named in answers.by_asking.values() for one in named])
    draw_confusion(
        out / "confusion.png", fine, rows=CATEGORIES, title=title, blocks=superclass_blocks()
    )
    draw_confusion(out / "superclasses.png", coarse, rows=SUPERCLASSES, title=title)
