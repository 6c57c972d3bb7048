"""`apsam-export --verify BUNDLE`: hashes, specs and, where this machine can, numbers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from apsam_export.gate.files import JSON_FILE, PAGE_FILE, read_reports, write_reports
from apsam_export.gate.parity import ran_on
from apsam_export.gate.record import compare_record, read_record
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Outcome, Report
from apsam_export.gate.run import run_builds
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_serve import signing
from apsam_serve.contract.manifest import (
    MANIFEST_NAME,
    REFERENCE_BUILD,
    Bundle,
    Manifest,
    open_bundle,
    write_manifest,
)
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import BundleError
from apsam_serve.runtime import base

Say = Callable[[str], None]
Outcomes = Mapping[str, Outcome]


def verify(path: Path, *, record: bool = False, say: Say = lambda _line: None) -> Outcomes:
    """Check a bundle without its checkpoint: FP32 against what the checkpoint answered at export,
    every other build that this machine can run against FP32.

    record: write what was found about those builds into the bundle, which changes its digest and
    voids its signature. Raises BundleError for a bundle that is incomplete, changed or misnamed.
    """
    bundle = open_bundle(path.resolve())  # what is recorded replaces the folder, not a link to it
    _check_specs(bundle)
    say(f"{len(bundle.manifest.files)} files are what was exported, digest {bundle.digest[:12]}")
    outcomes = _compare(bundle, say)
    reference = outcomes[REFERENCE_BUILD]
    if record and isinstance(reference, Report) and reference.passed:
        _record(bundle, outcomes, say)
    elif record:
        say("nothing is recorded: FP32, the measure of all builds, has not passed")
    return outcomes


def failed(outcomes: Outcomes) -> list[str]:
    """The builds that ran and failed."""
    return [
        name for name, found in outcomes.items() if isinstance(found, Report) and not found.passed
    ]


def _check_specs(bundle: Bundle) -> None:
    """What the manifest says of every graph, also of those that cannot be loaded here."""
    for name, build in bundle.manifest.builds.items():
        wanted = tensor_specs(bundle.manifest.model, build.precision)
        for graph, spec in build.graphs.items():
            if (spec.inputs, spec.outputs) != wanted[graph]:
                raise BundleError(
                    f"{bundle.path}: {graph} of build {name!r} has other tensors than a model of "
                    f"these shapes in {build.precision}; export the bundle again"
                )


def _compare(bundle: Bundle, say: Say) -> dict[str, Outcome]:
    manifest = bundle.manifest
    say(f"running build {REFERENCE_BUILD}")
    runner = base.load("onnxruntime")(bundle, base.RunnerOptions(build=REFERENCE_BUILD))
    runner.open()
    try:
        reference, place = Reference.of_runner(runner), ran_on(runner)
    finally:
        runner.close()
    kept = read_record(bundle.path)
    outcomes: dict[str, Outcome] = (
        {REFERENCE_BUILD: kept}
        if isinstance(kept, str)
        else {
            REFERENCE_BUILD: compare_record(
                kept,
                reference,
                THRESHOLDS["fp32"],
                core=manifest.model.apg_core,
                build="onnx fp32",
                ran_on=place,
            )
        }
    )
    others = {name: one for name, one in manifest.builds.items() if name != REFERENCE_BUILD}
    rest = replace(bundle, manifest=replace(manifest, builds=others))
    return outcomes | run_builds(rest, reference, say=say)


def _record(bundle: Bundle, outcomes: Outcomes, say: Say) -> None:
    """Write gates and reports of the builds that ran; the others' stay as they are. FP32 keeps what
    the checkpoint itself said."""
    found = {
        name: outcome
        for name, outcome in outcomes.items()
        if name != REFERENCE_BUILD and isinstance(outcome, Report)
    }
    builds = {
        name: replace(build, gate=found[name].gate()) if name in found else build
        for name, build in bundle.manifest.builds.items()
    }
    if builds == bundle.manifest.builds:
        say("nothing new to record")
        return
    digest = _rewritten(bundle, replace(bundle.manifest, builds=builds), found)
    say(f"recorded {', '.join(found)}; the bundle's digest is now {digest[:12]}")
    signature = signing.signature_file(bundle.path)
    if signature.exists():
        say(
            f"{signature} is no longer its signature; sign it again: model_signing sign key "
            f"{bundle.path} --signature {signature} --private_key KEY.pem"
        )


def _rewritten(bundle: Bundle, manifest: Manifest, found: Mapping[str, Report]) -> str:
    """Put a bundle with this manifest in the place of the old one; returns its digest.

    Files are linked, not copied: plans are large. Whoever opens the bundle meets one or the other,
    and between two renames, for an instant, none.
    """
    path = bundle.path
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        new, old = partial / "new", partial / "old"
        shutil.copytree(path, new, copy_function=_link)
        for name in (JSON_FILE, PAGE_FILE, MANIFEST_NAME):
            (new / name).unlink(missing_ok=True)  # a link: writing to it would change the old one
        write_reports(new, {**read_reports(path, manifest), **found})
        write_manifest(new, manifest)
        digest = open_bundle(new).digest
        try:
            path.rename(old)
            new.rename(path)
        except BaseException:
            if not path.exists():
                old.rename(path)
            raise
    finally:
        if path.exists():  # else what is left of the bundle lies in there
            shutil.rmtree(partial, ignore_errors=True)
    return digest


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
