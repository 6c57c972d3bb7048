"""`apsam-train halve`: a checkpoint of half the size, its weights rounded to FP16."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from apsam_serve.progress import Progress
from apsam_train.checkpoint import load_checkpoint, save_checkpoint
from apsam_train.delta import base_of
from apsam_train.merge import SUFFIX, check_new, written
from apsam_train.results import add_json, give
from apsam_train.sam_weights import file_sha256


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="file to halve")
    parser.add_argument("--sam", type=Path, metavar="FILE", help="the SAM file of a delta")
    parser.add_argument("--out", type=Path, required=True, metavar="F", help=f"F{SUFFIX} to write")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Halve and say where the file is."""
    with Progress("halve") as bar:
        bar.show(None, str(args.checkpoint))
        halve(args.checkpoint, args.out, sam=args.sam)
    print(f"apsam-train halve: wrote {args.out}", file=sys.stderr)
    give(written(args.out), as_json=args.json)
    return 0


def halve(checkpoint: Path, out: Path, *, sam: Path | None = None) -> None:
    """Write the weights alone, rounded to FP16; everything that reads checkpoints computes in FP32
    with them. The card's training facts name what it was made of.

    Raises CheckpointError, also for weights that FP16 cannot hold, OutputExistsError, ConfigError
    for a name that nothing would open.
    """
    check_new(out)
    model, card = load_checkpoint(checkpoint, sam=sam)
    origin = base_of(checkpoint, file_sha256(checkpoint))
    out.parent.mkdir(parents=True, exist_ok=True)
    training = {**card.training, "halved_from": origin}
    save_checkpoint(out, model, replace(card, training=training), half=True)
