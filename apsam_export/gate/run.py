"""Every build of a bundle that this machine can run, held to one reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from apsam_export.gate.parity import compare
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Outcome
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_serve.contract.manifest import Build, Bundle, Form, Gate, Manifest
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.runtime import base

BACKENDS: dict[Form, str] = {
    "onnx": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt",
}
DEVICES: dict[Form, str] = {"onnx": "cpu", "tensorrt": "cuda", "tensorrt_rtx": "cuda"}


def run_builds(
    bundle: Bundle, reference: Reference, *, say: Callable[[str], None]
) -> dict[str, Outcome]:
    """Compare build by build. Raises BundleError for a graph that cannot be loaded."""
    outcomes: dict[str, Outcome] = {}
    for name, build in bundle.manifest.builds.items():
        say(f"comparing build {name} with {reference.name}")
        outcomes[name] = _run(bundle, name, build, reference)
    return outcomes


def recorded(manifest: Manifest, outcomes: Mapping[str, Outcome]) -> Manifest:
    """The manifest with what was found."""
    builds = {
        name: replace(build, gate=_gate(outcomes[name])) for name, build in manifest.builds.items()
    }
    return replace(manifest, builds=builds)


def _run(bundle: Bundle, name: str, build: Build, reference: Reference) -> Outcome:
    options = base.RunnerOptions(device=DEVICES[build.form], build=name, allow_unverified=True)
    runner = base.load(BACKENDS[build.form])(bundle, options)
    try:
        runner.open()
    except BackendUnavailableError as error:
        return str(error)
    try:
        return compare(reference, runner, THRESHOLDS[build.precision])
    finally:
        runner.close()


def _gate(outcome: Outcome) -> Gate:
    if isinstance(outcome, str):
        return Gate(passed=False, detail=f"not run: {outcome}")
    return outcome.gate()
