"""`apsam-train merge`: a delta and its SAM file become one whole checkpoint."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from apsam_serve.errors import OutputExistsError
from apsam_serve.progress import Progress
from apsam_train.checkpoint import load_checkpoint, save_checkpoint
from apsam_train.delta import base_of
from apsam_train.errors import CheckpointError, ConfigError
from apsam_train.results import add_json, give
from apsam_train.sam_weights import file_sha256

SUFFIX = ".safetensors"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("delta", type=Path, metavar="DELTA", help="checkpoint written with --sam")
    parser.add_argument(
        "--sam", type=Path, metavar="FILE", help="its SAM file (default: the one beside it)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="F", help=f"F{SUFFIX} to write")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Merge and say where the file is."""
    with Progress("merge") as bar:
        bar.show(None, f"{args.delta} and its SAM file")
        merge(args.delta, args.out, sam=args.sam)
    print(f"apsam-train merge: wrote {args.out}", file=sys.stderr)
    give(written(args.out), as_json=args.json)
    return 0


def written(checkpoint: Path) -> dict[str, Any]:
    """What --json says of a file that was written."""
    size = checkpoint.stat().st_size
    return {"out": checkpoint, "num_bytes": size, "sha256": file_sha256(checkpoint)}


def check_new(out: Path) -> None:
    """Raises ConfigError for a name that nothing would open, OutputExistsError for one in use."""
    if out.suffix != SUFFIX:
        raise ConfigError(f"--out {out} must end in {SUFFIX}, as every checkpoint does")
    if out.exists():
        raise OutputExistsError(f"{out} exists already; choose another name or remove it first")


def merge(delta: Path, out: Path, *, sam: Path | None = None) -> None:
    """Write one whole file of weights; its card's training facts name what it was made of.

    Raises CheckpointError, OutputExistsError, ConfigError for a name that nothing would open.
    """
    check_new(out)
    model, card = load_checkpoint(delta, sam=sam)
    if card.base is None:
        raise CheckpointError(f"{delta} is a whole checkpoint already; there is nothing to merge")
    origin = {"delta": base_of(delta, file_sha256(delta)), "sam": dict(card.base)}
    training = {**card.training, "merged_from": origin}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out, model, replace(card, training=training, base=None))
