"""Builds of plans that are compiled here, for tests on a real GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apsam_export.errors import PlanError
from apsam_export.kernels import compile_kernels
from apsam_export.plans.compiler import Compiler
from apsam_export.plans.compiling import build_name, compile_plans
from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import Gate, Precision, open_bundle, write_manifest
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.runtime.sessions import provider_of


def need(form: PlanForm, *, runs: bool = True) -> None:
    """Skip the test unless plans of that form are compiled on this machine and run (or not) on its
    GPU."""
    try:
        gpu = describe_gpu(load_cuda())
        target = Compiler.open(form).target
    except (BackendUnavailableError, PlanError) as error:
        pytest.skip(str(error))
    architecture = "sm_" + gpu["compute_capability"].replace(".", "")
    known = target.get("compute_capabilities", [architecture])
    if runs != (architecture in known):
        pytest.skip(f"{form} compiles for {', '.join(known)}; {gpu['gpu']} is {architecture}")


def need_onnxruntime() -> None:
    """Skip the test where there is no GPU, or no ONNX Runtime that was built for one. Whatever else
    is missing there is a fault."""
    try:
        load_cuda()
        provider_of("cuda")
    except BackendUnavailableError as error:
        pytest.skip(str(error))


def add_plans(path: Path, *, form: PlanForm, precision: Precision, cache: Path) -> str:
    """Give a bundle a build of plans from its graphs in that precision; returns its name."""
    manifest = open_bundle(path).manifest
    source = manifest.builds[precision]
    graphs, compiled = compile_plans(
        path,
        form=form,
        graphs=source.graphs,
        model=manifest.model,
        precision=precision,
        cache=cache,
    )
    gate = Gate(passed=True, detail="compiled for a test")
    name = build_name(form, precision)
    plans = replace(source, form=form, graphs=graphs, compiled=compiled, gate=gate)
    write_manifest(path, replace(manifest, builds={**manifest.builds, name: plans}, files={}))
    return name


def add_kernels(path: Path) -> None:
    """Give a bundle the kernels for this machine's GPU."""
    manifest = open_bundle(path).manifest
    architecture = "sm_" + describe_gpu(load_cuda())["compute_capability"].replace(".", "")
    kernels = compile_kernels(path, [architecture])
    write_manifest(path, replace(manifest, kernels=kernels, files={}))
