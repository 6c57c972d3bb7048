"""`apsam-train labels`: score, compare and question category labels."""

from __future__ import annotations

import argparse

from apsam_train.labels import cluster, compare, score

_EXAMPLES = """a head on a frozen model, and what it says of the labels:
  apsam-train fit --start F --set trainable='"category"' --set category_weight=1.0 ...
  apsam-train labels score model.safetensors --data DIR --split test --out scored
  apsam-train labels compare --data DIR --test DIR --start F --out compared
  apsam-train labels cluster model.safetensors --data DIR --out questioned
"""
_VERBS = {
    "score": ("accuracy of a model's categories", score.configure, score.run),
    "compare": ("heads trained on fine labels against coarse", compare.configure, compare.run),
    "cluster": ("labels and categories worth a second look", cluster.configure, cluster.run),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their options."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (purpose, declare, _) in _VERBS.items():
        declare(verbs.add_parser(name, help=purpose, description=purpose))


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    _, _, act = _VERBS[args.verb]
    return act(args)
