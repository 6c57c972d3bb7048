"""From checkpoint to bundle, top to bottom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from apsam_export import kernels
from apsam_export.environment import describe
from apsam_export.flops import count
from apsam_export.gate.files import write_reports
from apsam_export.gate.parity import check
from apsam_export.gate.record import write_record
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Outcome, Report
from apsam_export.gate.run import recorded, run_builds
from apsam_export.graphs import GRAPHS
from apsam_export.passes import PASSES, rewritten
from apsam_export.plans import compiling
from apsam_export.ranges import check_ranges
from apsam_export.request import PlanForm, Request
from apsam_export.split import write_graph
from apsam_export.twins import typed
from apsam_serve import signing
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import (
    Build,
    Gate,
    KernelSpec,
    Manifest,
    ModelSpec,
    Precision,
    open_bundle,
    write_manifest,
)
from apsam_train.checkpoint import Card, load_checkpoint
from apsam_train.files import sha256_of
from apsam_train.models import APSAM

Say = Callable[[str], None]
_UNTRIED = Gate(passed=False, detail="not tried yet")


def export(
    checkpoint: Path,
    out: Path,
    *,
    sam: Path | None = None,
    request: Request | None = None,
    say: Say = lambda _line: None,
) -> Mapping[str, Outcome]:
    """Write the bundle `out`, or nothing at all; sam: see `load_checkpoint`.

    Returns the gate's outcome by build. Raises CheckpointError, OutputExistsError, PlanError,
    KernelError, SignatureError, RangeError, and ParityError when a build fails the gate.
    """
    request = request or Request()
    _check_tools(request)
    with new_folder(out) as folder:
        model, card = load_checkpoint(checkpoint, sam=sam)
        builds = _build(model, folder, request, say)
        manifest = Manifest(
            model=replace(model.preset.spec, apg_core=card.apg.core),
            builds=builds,
            passes=PASSES,
            flops=count(model.preset),
            kernels=_kernels(folder, request.kernels, say),
            provenance={
                "checkpoint_sha256": sha256_of(checkpoint),
                "training": card.training,
                "environment": describe(),
                "ranges": _ranges(folder, builds, model.preset.spec, say),
            },
        )
        write_manifest(folder, manifest)
        say("asking the checkpoint")
        reference = Reference.of(model)
        del model  # of ViT-L, 1.3 GB that the builds need now
        outcomes = run_builds(open_bundle(folder), reference, say=say)
        _refuse_failures(outcomes.values())
        write_reports(folder, outcomes)
        write_record(folder, reference, core=card.apg.core)
        (folder / "card.json").write_text(_card(card))
        write_manifest(folder, recorded(manifest, outcomes))
    if request.sign_with:
        say(f"signed: {signing.sign(out, request.sign_with)}")
    return outcomes


def _check_tools(request: Request) -> None:
    """Refuse now what would fail after minutes."""
    for form in request.plans:
        compiling.check(form)
    if request.kernels:
        kernels.check(request.kernels)
    if request.sign_with:
        signing.check(request.sign_with)


def _build(model: APSAM, folder: Path, request: Request, say: Say) -> dict[str, Build]:
    twins: tuple[Precision, ...] = request.twins or (("fp16",) if request.plans else ())
    builds: dict[str, Build] = {}
    for precision in ("fp32", *twins):
        twin = typed(rewritten(model, precision), precision)
        graphs = {}
        for graph in GRAPHS:
            say(f"writing {graph} in {precision}")
            graphs[graph] = write_graph(twin, graph, folder, precision)
        builds[precision] = Build(form="onnx", precision=precision, graphs=graphs, gate=_UNTRIED)
    for form in request.plans:
        for precision in twins:
            compiled = _plans(form, folder, builds[precision], model.preset.spec, request, say)
            builds[compiling.build_name(form, precision)] = compiled
    return builds


def _plans(
    form: PlanForm, folder: Path, source: Build, model: ModelSpec, request: Request, say: Say
) -> Build:
    graphs, compiled = compiling.compile_plans(
        folder,
        form=form,
        graphs=source.graphs,
        model=model,
        precision=source.precision,
        cache=request.plan_cache,
        say=say,
    )
    return replace(source, form=form, graphs=graphs, gate=_UNTRIED, compiled=compiled)


def _ranges(
    folder: Path, builds: Mapping[str, Build], model: ModelSpec, say: Say
) -> dict[str, dict[str, object]]:
    if "fp16" not in builds:
        return {}
    say("measuring value ranges of fp16")
    return check_ranges(folder, builds["fp16"], model)


def _kernels(folder: Path, architectures: tuple[str, ...], say: Say) -> KernelSpec | None:
    if not architectures:
        return None
    say(f"compiling kernels for {', '.join(architectures)}")
    return kernels.compile_kernels(folder, architectures)


def _refuse_failures(outcomes: Iterable[Outcome]) -> None:
    for found in outcomes:
        if isinstance(found, Report):
            check(found)


def _card(card: Card) -> str:
    return json.dumps(asdict(card), indent=2) + "\n"
