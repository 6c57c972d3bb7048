"""`apsam-train labels cluster`: question labels by a trained classifier's features (paper 3.4)."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from apsam_serve.progress import Progress
from apsam_train.data import options
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError
from apsam_train.files import write_whole
from apsam_train.labels.cluster_report import (
    Questions,
    as_document,
    as_markdown,
    as_table,
    kinds_line,
    write_suspects,
)
from apsam_train.labels.cluster_sheets import draw_kinds, draw_suspects, kinds_file
from apsam_train.labels.head import HeadReader
from apsam_train.labels.kinds import find_two_kinds
from apsam_train.labels.neighbours import Features, Neighbourhood, neighbourhood, normalised
from apsam_train.labels.objects import WAYS, ObjectRef, read_objects
from apsam_train.labels.projection import draw_plane, plane, shown
from apsam_train.labels.suspects import find_mixed_pairs, find_suspects
from apsam_train.results import add_json, give


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help=".safetensors file with a category head"
    )
    options.add_options(parser)
    parser.add_argument("--sam", type=Path, help="the SAM file of a delta checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for report and pictures")
    parser.add_argument(
        "--prompt",
        choices=("auto", *WAYS),
        default="auto",
        help="how objects are pointed at; default auto: what fits the labels best",
    )
    parser.add_argument("--neighbours", type=int, default=15, help="nearest objects that vote")
    parser.add_argument(
        "--suspect", type=float, default=0.4, help="least score of a suspect, 0 to 1 (default 0.4)"
    )
    parser.add_argument(
        "--fewest", type=int, default=20, help="least objects of a category for the other questions"
    )
    parser.add_argument(
        "--silhouette", type=float, default=0.7, help="of a split into two kinds, at least"
    )
    parser.add_argument(
        "--mixing", type=float, default=0.25, help="of two categories, 0 to 0.5, at least"
    )
    parser.add_argument("--projection", choices=("pca", "tsne"), default="pca")
    parser.add_argument("--seed", type=int, default=0, help="of everything left to chance")
    parser.add_argument("--num", type=int, default=24, help="suspects on the contact sheet")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read features, ask, write clusters.md, suspects.csv and pictures."""
    _check(args)
    log = ProblemLog(strict=args.strict)
    source = options.open_from(args, log)
    reader = HeadReader(args.checkpoint, sam=args.sam)
    ways = list(WAYS) if args.prompt == "auto" else [args.prompt]
    with Progress("labels") as bar:
        objects, features = read_objects(
            reader,
            source,
            ways,
            seed=args.seed,
            log=log,
            on_image=lambda done: bar.show(done / len(source), source.description),
        )
    near = {way: _near(part, objects, k=args.neighbours) for way, part in features.items()}
    fits = {way: one.agreement() for way, one in near.items()}
    # Which prompts give the cleanest features depends on the model: one that never saw boxes in
    # training has no use for them, one that did needs no luck with a click where objects overlap.
    way = max(fits, key=lambda name: fits[name])
    questions = _ask(args, features[way], objects, near[way])
    args.out.mkdir(parents=True, exist_ok=True)
    write_suspects(args.out / "suspects.csv", objects, questions.suspects)
    drawn = questions.suspects[: questions.num_drawn]
    draw_suspects(args.out / "suspects.jpg", source, objects, drawn)
    for one in questions.kinds:
        draw_kinds(args.out / kinds_file(one.category), source, objects, one)
    _draw_plane(
        args, normalised(features[way]), objects, [one.position for one in questions.suspects]
    )
    facts = _facts(args, source.description, objects, questions.near, way, fits, log)
    write_whole(args.out / "clusters.md", as_markdown(questions, objects, facts=facts))
    options.tell(log, "labels cluster")
    document = {"facts": facts, "problems": log.to_json()} | as_document(questions, objects)
    lines = [f"{len(questions.suspects)} suspect labels among {len(objects)} objects"]
    lines += [kinds_line(one) for one in questions.kinds]
    lines += [
        f"{' and '.join(pair.names)} cannot be told apart: mixing {pair.rate:.2f}"
        for pair in questions.pairs
    ]
    written = f"report in {args.out / 'clusters.md'}"
    give(document, as_table(questions, objects), *lines, written, as_json=args.json)
    return 0


def _ask(
    args: argparse.Namespace,
    features: Features,
    objects: Sequence[ObjectRef],
    near: Neighbourhood,
) -> Questions:
    suspects = find_suspects(near, least_score=args.suspect)
    return Questions(
        near=near,
        suspects=suspects,
        kinds=find_two_kinds(
            features,
            [one.category for one in objects],
            without=[one.position for one in suspects],
            fewest=args.fewest,
            least_silhouette=args.silhouette,
            seed=args.seed,
        ),
        pairs=find_mixed_pairs(near, fewest=args.fewest, least_rate=args.mixing),
        fewest=args.fewest,
        num_drawn=min(args.num, len(suspects)),
    )


def _check(args: argparse.Namespace) -> None:
    for option, least in (("neighbours", 1), ("fewest", 10), ("num", 0), ("seed", 0)):
        value = getattr(args, option)
        if value < least:
            raise ConfigError(f"--{option} {value} must be at least {least}")
    for option, most in (("suspect", 1.0), ("silhouette", 1.0), ("mixing", 0.5)):
        value = getattr(args, option)
        if not 0 < value <= most:
            raise ConfigError(f"--{option} {value} must lie above 0 and be at most {most:g}")


def _near(features: Features, objects: Sequence[ObjectRef], *, k: int) -> Neighbourhood:
    return neighbourhood(
        normalised(features),
        categories=[one.category for one in objects],
        bags=[one.bag for one in objects],
        k=k,
    )


def _draw_plane(
    args: argparse.Namespace,
    unit: Features,
    objects: Sequence[ObjectRef],
    suspects: Sequence[int],
) -> None:
    chosen = shown(len(objects), suspects, seed=args.seed)
    draw_plane(
        args.out / "projection.png",
        plane(unit[chosen], method=args.projection, seed=args.seed),
        [objects[i].category for i in chosen.tolist()],
        suspects=np.flatnonzero(np.isin(chosen, suspects)).tolist(),
        title=f"{len(chosen)} of {len(objects)} objects, {args.projection}",
    )


def _facts(
    args: argparse.Namespace,
    data: str,
    objects: Sequence[ObjectRef],
    near: Neighbourhood,
    way: str,
    fits: Mapping[str, float],
    log: ProblemLog,
) -> dict[str, str]:
    outside = sum(not one.in_table_7 for one in objects)
    shares = ", ".join(f"{name} {fit * 100:.1f} %" for name, fit in fits.items())
    return {
        "command": f"`{shlex.join(['apsam-train', *sys.argv[1:]])}`",
        "classifier": str(args.checkpoint),
        "data": f"{data}, {len(objects)} outlined objects, {outside} of them outside Table 7, "
        "which take part under their own names",
        "features": f"hidden activation of the category head, prompted by {way} (agreeing "
        f"neighbours by prompt: {shares}; by chance {near.chance() * 100:.1f} %)",
        "problems in the data": ", ".join(f"{n} x {kind}" for kind, n in log.counts().items())
        or "none",
    }
