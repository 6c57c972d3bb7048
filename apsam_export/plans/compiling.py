"""From typed ONNX graphs to plans of TensorRT or TensorRT-RTX, compiled once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from apsam_export.plans.cache import PlanCache, default_folder, key_of
from apsam_export.plans.compiler import FLAGS, Compiler
from apsam_export.plans.profiles import PROFILES
from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import GraphSpec, ModelSpec, Precision
from apsam_train.files import sha256_of

SHORT_NAMES: Mapping[PlanForm, str] = {"tensorrt": "trt", "tensorrt_rtx": "rtx"}


def build_name(form: PlanForm, precision: Precision) -> str:
    """What a build of plans is called: "rtx-fp16"."""
    return f"{SHORT_NAMES[form]}-{precision}"


def check(form: PlanForm) -> None:
    """Raise PlanError unless this machine can compile plans of that form."""
    Compiler.open(form)


def compile_plans(
    folder: Path,
    *,
    form: PlanForm,
    graphs: Mapping[str, GraphSpec],
    model: ModelSpec,
    precision: Precision,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[dict[str, GraphSpec], dict[str, Any]]:
    """Compile ONNX graphs of `folder` to `plans/<build's name>/<graph>.plan`.

    cache: folder of plans to use again, None for the user's. Returns the same contract with the
    plans as files, and how they were made. Raises PlanError; BundleError for graphs whose tensors
    are not the contract's.
    """
    compiler, kept = Compiler.open(form), PlanCache(cache or default_folder())
    common = {
        "library": form,
        "version": compiler.version,
        "target": compiler.target,
        "flags": list(FLAGS),
    }
    name = build_name(form, precision)
    specs, profiles, sources = {}, {}, {}
    for graph, spec in graphs.items():
        profiles[graph] = [
            {axis: asdict(sizes) for axis, sizes in profile.items()} for profile in PROFILES[graph]
        ]
        sources[graph] = {part: sha256_of(folder / part) for part in (spec.file, *spec.data)}
        key = key_of(common | {"profiles": profiles[graph], "sources": sources[graph]})
        plan = kept.load(key)
        if plan is None:
            say(f"compiling {graph} for {_where(compiler)}")
            plan = compiler.compile(
                folder / spec.file,
                graph=graph,
                spec=spec,
                model=model,
                precision=precision,
                profiles=PROFILES[graph],
                cache=kept,
            )
            kept.store(key, plan)
        else:
            say(f"{graph} was compiled for {_where(compiler)} before")
        specs[graph] = replace(spec, file=f"plans/{name}/{graph}.plan", data=())
        file = folder / specs[graph].file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(plan)
    return specs, common | {"profiles": profiles, "sources": sources}


def _where(compiler: Compiler) -> str:
    target = compiler.target
    return str(target.get("gpu") or ", ".join(target["compute_capabilities"]))
