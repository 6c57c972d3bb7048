"""From checkpoint to bundle, top to bottom."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from apsam_export.environment import describe
from apsam_export.graphs import GRAPHS
from apsam_export.parity import Report, check, compare
from apsam_export.split import write_graph
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import Manifest, open_bundle, write_manifest
from apsam_serve.runtime import base
from apsam_train.checkpoint import Card, load_checkpoint
from apsam_train.files import sha256_of
from apsam_train.models import APSAM


def export(
    checkpoint: Path,
    out: Path,
    *,
    sam: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Write the bundle `out`, or nothing at all; sam: see `load_checkpoint`.

    Raises CheckpointError, OutputExistsError, ParityError when the gate fails.
    """
    with new_folder(out) as folder:
        model, card = load_checkpoint(checkpoint, sam=sam)
        specs = {}
        for graph in GRAPHS:
            say(f"writing {graph}.onnx")
            specs[graph] = write_graph(model, graph, folder)
        manifest = Manifest(
            model=replace(model.preset.spec, apg_core=card.apg.core),
            graphs=specs,
            provenance={
                "checkpoint_sha256": sha256_of(checkpoint),
                "training": card.training,
                "environment": describe(),
            },
        )
        write_manifest(folder, manifest)
        say("comparing with the checkpoint")
        report = _gate(model, folder)
        (folder / "parity.json").write_text(json.dumps(report.to_json(), indent=2) + "\n")
        (folder / "card.json").write_text(_card(card))
        write_manifest(folder, manifest)
    return report


def _gate(model: APSAM, folder: Path) -> Report:
    runner = base.load("onnxruntime")(open_bundle(folder), base.RunnerOptions())
    runner.open()
    try:
        report = compare(model, runner)
    finally:
        runner.close()
    check(report)
    return report


def _card(card: Card) -> str:
    return json.dumps(asdict(card), indent=2) + "\n"
