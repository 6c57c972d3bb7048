"""`apsam-train evaluate`: mIoU and Dice of a checkpoint, a bundle or a server."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from apsam_serve.contract.segmenter import Segmenter
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import SampleSource
from apsam_train.errors import ConfigError
from apsam_train.evaluate.flood_fill import FloodFill
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import score, summarise
from apsam_train.evaluate.sources import open_segmenter
from apsam_train.progress import Progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "target", help="checkpoint (.safetensors), bundle folder, HOST:PORT, or 'floodfill'"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations.json")
    parser.add_argument(
        "--protocols", default=",".join(PROTOCOLS), help=f"of {', '.join(PROTOCOLS)} (default all)"
    )
    parser.add_argument("--seeds", default="0,1,2", help="prompt seeds, e.g. 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("metrics.json"), help="result file")


def run(args: argparse.Namespace) -> int:
    """Score, print a table, write metrics.json."""
    names = args.protocols.split(",")
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise ConfigError(f"protocol {unknown[0]!r} is unknown; choose of {', '.join(PROTOCOLS)}")
    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {args.seeds!r} must be integers like 0,1,2") from error
    source = open_dataset(args.data)
    segmenter = FloodFill() if args.target == "floodfill" else open_segmenter(args.target)
    try:
        metrics = evaluate(segmenter, source, protocols=names, seeds=seeds)
    finally:
        segmenter.close()
    report = {"target": args.target, "data": source.description, "seeds": seeds} | metrics
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(table(metrics["protocols"]))
    print(f"{metrics['num_instances']} instances, seeds {args.seeds}; written to {args.out}")
    return 0


def evaluate(
    segmenter: Segmenter, source: SampleSource, *, protocols: list[str], seeds: list[int]
) -> dict[str, Any]:
    """{"num_instances", "protocols": {name: mean over seeds, spread, every seed's summary}}."""
    results: dict[str, Any] = {}
    num_rounds = len(protocols) * len(seeds)
    with Progress("evaluate") as bar:
        for done, (name, seed) in enumerate((n, s) for n in protocols for s in seeds):

            def show(image: int, done: int = done, name: str = name) -> None:
                bar.show((done + image / len(source)) / num_rounds, name)

            scores = score(segmenter, source, PROTOCOLS[name], seed=seed, on_image=show)
            results.setdefault(name, []).append(summarise(scores))
    return {
        "num_instances": results[protocols[0]][0].num_instances,
        "protocols": {
            name: {
                "miou": float(np.mean([s.miou for s in summaries])),
                "miou_spread": float(np.ptp([s.miou for s in summaries])),
                "dice": float(np.mean([s.dice for s in summaries])),
                "dice_spread": float(np.ptp([s.dice for s in summaries])),
                "by_seed": [asdict(s) for s in summaries],
            }
            for name, summaries in results.items()
        },
    }


def table(protocols: dict[str, Any]) -> str:
    """The figures in per cent, one protocol per line."""
    lines = [f"{'protocol':<10}{'mIoU %':>8}{'spread':>8}{'Dice %':>8}{'spread':>8}"]
    for name, result in protocols.items():
        figures = (result[k] * 100 for k in ("miou", "miou_spread", "dice", "dice_spread"))
        lines.append(f"{name:<10}" + "".join(f"{figure:8.2f}" for figure in figures))
    return "\n".join(lines)
