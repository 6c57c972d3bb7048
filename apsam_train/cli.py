"""`apsam-train`: one sub-command per module, loaded only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from apsam_serve.errors import ApsamError

COMMANDS = {
    "synth": ("apsam_train.synth.command", "make synthetic dual-energy bags with truth masks"),
    "inspect": ("apsam_train.data.inspect_command", "say what a data set is, count it, draw it"),
    "curate": ("apsam_train.curate.command", "make one clean data set of several dirty ones"),
    "fit": ("apsam_train.fit", "train a model on a data set"),
    "merge": ("apsam_train.merge", "make one whole checkpoint of a delta and its SAM file"),
    "halve": ("apsam_train.halve", "make a checkpoint of half the size, in FP16"),
    "annotate": ("apsam_train.annotate.command", "rounds of model-assisted masks"),
    "evaluate": ("apsam_train.evaluate.command", "score a checkpoint, bundle or server"),
    "labels": ("apsam_train.labels.command", "score, compare and question category labels"),
    "ablate": ("apsam_train.ablate.command", "train and score without EAE, APG, both"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; 0 on success, 2 on bad input, 130 when interrupted. With --json the
    outcome, bad input too, is one JSON document on standard output."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except ModuleNotFoundError as error:
        print(
            f"apsam-train: error: {error.name} is not installed; pip install 'apsam[train]'",
            file=sys.stderr,
        )
        return 2


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="apsam-train", description="Train and evaluate APSAM.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if name in arguments[:1]:
            importlib.import_module(module).configure(command)
    parsed = parser.parse_args(arguments)
    try:
        return int(importlib.import_module(COMMANDS[parsed.command][0]).run(parsed))
    except (ApsamError, ValueError) as error:
        if getattr(parsed, "json", False):
            reason = error.reason if isinstance(error, ApsamError) else "INVALID_INPUT"
            print(json.dumps({"error": {"reason": reason, "message": str(error)}}), flush=True)
        print(f"apsam-train {parsed.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"apsam-train {parsed.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
