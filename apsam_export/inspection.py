"""`apsam-export --inspect BUNDLE`: what is in a bundle, without running any of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apsam_serve.contract.manifest import Build, Bundle, GraphSpec, KernelSpec, open_bundle
from apsam_serve.signing import signature_file
from apsam_train.tables import Table

_MB = 1e6


def inspect(path: Path) -> dict[str, Any]:
    """Verify a bundle and describe it in plain values. Raises BundleError."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    return {
        "bundle": str(path),
        "digest": bundle.digest,
        "format_version": manifest.format_version,
        "signature": signature_file(path).name if signature_file(path).is_file() else None,
        "num_bytes": sum(entry.num_bytes for entry in manifest.files.values()),
        "model": asdict(manifest.model),
        "builds": {name: _build(bundle, build) for name, build in manifest.builds.items()},
        "flops": {name: asdict(flops) for name, flops in manifest.flops.items()},
        "passes": [asdict(one) for one in manifest.passes],
        "kernels": _kernels(bundle, manifest.kernels),
        "provenance": dict(manifest.provenance),
    }


def table(found: Mapping[str, Any]) -> str:
    """What `inspect` found, for people."""
    model = found["model"]
    lines = [
        f"{found['bundle']}: {model['preset']}, {model['side']} x {model['side']} pixels, "
        f"{len(model['categories'])} categories, {_size(found['num_bytes'])}",
        f"digest {found['digest'][:12]}, "
        f"{'signature ' + found['signature'] if found['signature'] else 'not signed'}",
    ]
    for name, build in found["builds"].items():
        gate = build["gate"]
        verdict = "passed" if gate["passed"] else "NOT VERIFIED"
        lines += ["", f"build {name} ({build['form']}, {build['precision']}): {verdict}"]
        lines += [f"  {gate['detail']}"]
        lines += _rows(_graph_rows(build["graphs"]))
        lines += [f"  compiled: {key} {value}" for key, value in _made(build["compiled"])]
    if found["flops"]:
        lines += ["", "floating-point operations of one image or click, in 1e9; exported: FP32"]
        lines += _rows(_flops_rows(found["flops"]))
    if found["passes"]:
        lines += ["", "rewrites of the graphs, and what each prevents"]
        lines += _rows([[one["name"], one["prevents"]] for one in found["passes"]])
    if found["kernels"]:
        kernels = found["kernels"]
        lines += ["", f"kernels, compiled by {kernels['compiler']}"]
        lines += _rows(
            [[arch, one["file"], _size(one["num_bytes"])] for arch, one in kernels["files"].items()]
        )
    return "\n".join(lines)


def _build(bundle: Bundle, build: Build) -> dict[str, Any]:
    return {
        "form": build.form,
        "precision": build.precision,
        "gate": asdict(build.gate),
        "compiled": dict(build.compiled),
        "graphs": {name: _graph(bundle, spec) for name, spec in build.graphs.items()},
    }


def _graph(bundle: Bundle, spec: GraphSpec) -> dict[str, Any]:
    files = (spec.file, *spec.data)
    return {
        "file": spec.file,
        "data": list(spec.data),
        "num_bytes": sum(bundle.manifest.files[name].num_bytes for name in files),
        "inputs": [asdict(tensor) for tensor in spec.inputs],
        "outputs": [asdict(tensor) for tensor in spec.outputs],
        **_counts(bundle.file(spec.file)),
    }


def _counts(file: Path) -> dict[str, int | None]:
    """Operators and weights of an ONNX graph; None for plans, and without the library `onnx`."""
    try:
        import onnx
    except ModuleNotFoundError:
        return {"num_operators": None, "num_weights": None}
    if file.suffix != ".onnx":
        return {"num_operators": None, "num_weights": None}
    graph = onnx.load(file, load_external_data=False).graph
    return {
        "num_operators": len(graph.node),
        "num_weights": sum(_product(weight.dims) for weight in graph.initializer),
    }


def _product(sizes: Iterable[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _kernels(bundle: Bundle, kernels: KernelSpec | None) -> dict[str, Any] | None:
    if kernels is None:
        return None
    files = {
        architecture: {"file": name, "num_bytes": bundle.manifest.files[name].num_bytes}
        for architecture, name in kernels.files.items()
    }
    return asdict(kernels) | {"files": files}


def _graph_rows(graphs: Mapping[str, Any]) -> list[list[str]]:
    rows = [["graph", "size", "operators", "weights", "tensors"]]
    for name, graph in graphs.items():
        tensors = [f"{_tensor(one)} ->" for one in graph["inputs"]]
        tensors += [f"-> {_tensor(one)}" for one in graph["outputs"]]
        facts = [_size(graph["num_bytes"]), _count(graph["num_operators"])]
        rows.append([name, *facts, _count(graph["num_weights"]), tensors[0]])
        rows += [["", "", "", "", tensor] for tensor in tensors[1:]]
    return rows


def _flops_rows(flops: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    rows = [["graph", "published", "exported", "saved"]]
    for name, one in flops.items():
        saved = 1 - one["exported"] / one["published"] if one["published"] else 0.0
        figures = [f"{one[key] / 1e9:.2f}" for key in ("published", "exported")]
        rows.append([name, *figures, f"{saved:.1%}"])
    return rows


def _made(compiled: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What fits into a line of how plans were compiled."""
    return [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in compiled.items()
        if not isinstance(value, Mapping)
    ]


def _tensor(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['name']} {tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / _MB:.2f} MB"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns, two spaces in."""
    return [f"  {line}" for line in str(Table(columns=rows[0], rows=rows[1:])).splitlines()]
