"""`apsam-train evaluate`: mIoU and Dice of checkpoints, bundles or servers (Tables 3, 5 and 6)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apsam_serve.contract.segmenter import Segmenter
from apsam_serve.progress import Progress
from apsam_train.data import formats, options
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import SampleSource
from apsam_train.errors import ConfigError
from apsam_train.evaluate import tables
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import Asking, score
from apsam_train.evaluate.sheet import Method, comparison, energy_maps
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.evaluate.summary import figures
from apsam_train.files import write_whole
from apsam_train.pictures import write_picture
from apsam_train.results import add_json, give


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help=".safetensors checkpoint, SAM's .pth, bundle folder, HOST:PORT or 'floodfill'",
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="data sets' folders")
    parser.add_argument("--split", default="", help="only this split of them, e.g. test/hard")
    options.add_reading_options(parser)
    parser.add_argument("--sam", type=Path, help="the SAM file of a delta checkpoint")
    parser.add_argument(
        "--protocols", default=",".join(PROTOCOLS), help=f"of {', '.join(PROTOCOLS)} (default all)"
    )
    parser.add_argument("--seeds", default="0,1,2", help="prompt seeds, e.g. 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("metrics.json"), help="result file")
    parser.add_argument("--pictures", type=Path, help="write a sheet in the form of figure 6")
    parser.add_argument("--energy-maps", type=Path, help="write a sheet in the form of figure 7")
    parser.add_argument("--rows", type=int, default=6, help="images on a sheet")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score, print tables, write metrics.json with its picture beside it, and sheets."""
    askings = parse_askings(args.protocols, args.seeds)
    log = ProblemLog(strict=args.strict)
    sources = [
        formats.open_dataset(path, format=args.format, split=args.split, log=log)
        for path in args.data
    ]
    rows = []
    segmenters = {target: open_segmenter(target, sam=args.sam) for target in args.targets}
    try:
        for target, segmenter in segmenters.items():
            for source in sources:
                row = evaluate(segmenter, source, askings=askings, log=log)
                rows.append({"target": target, "data": source.description} | row)
        report = {"seeds": args.seeds, "rows": rows, "problems": log.to_json()}
        write_whole(args.out, json.dumps(report, indent=2) + "\n")
        tables.draw(args.out.with_suffix(".png"), rows)
        _draw(args, segmenters, sources[0], askings)
    finally:
        for segmenter in segmenters.values():
            segmenter.close()
    options.tell(log, "evaluate")
    shown = [*tables.by_protocol(rows), *([tables.by_group(rows[0])] if len(rows) == 1 else [])]
    written = f"seeds {args.seeds}; all figures in {args.out}, a picture beside it"
    give(report, *shown, written, as_json=args.json)
    return 0


def parse_askings(protocols: str, seeds: str) -> list[Asking]:
    """From "random1,apg" and "0,1,2". Raises ConfigError."""
    names = protocols.split(",")
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise ConfigError(f"protocol {unknown[0]!r} is unknown; choose of {', '.join(PROTOCOLS)}")
    return [Asking(protocol=n, seed=seed) for n in names for seed in options.parse_seeds(seeds)]


def evaluate(
    segmenter: Segmenter,
    source: SampleSource,
    *,
    askings: Sequence[Asking],
    log: ProblemLog | None = None,
) -> dict[str, Any]:
    """Score and average: what `figures` says."""
    with Progress("evaluate") as bar:

        def show(done: int) -> None:
            bar.show(done / len(source), source.description)

        scores = score(segmenter, source, askings, log=log, on_image=show)
    return figures(scores)


def _draw(
    args: argparse.Namespace,
    segmenters: dict[str, Segmenter],
    source: ImageDataset,
    askings: Sequence[Asking],
) -> None:
    if args.pictures is not None:
        names = dict.fromkeys(asking.protocol for asking in askings)
        methods = {
            f"{Path(target).name} {name}": Method(segmenter=one, protocol=PROTOCOLS[name])
            for target, one in segmenters.items()
            for name in names
        }
        picture = comparison(source, methods, seed=askings[0].seed, num_rows=args.rows)
        write_picture(args.pictures, picture)
    if args.energy_maps is not None:
        write_picture(args.energy_maps, energy_maps(source, num_rows=args.rows))
