"""`apsam-export --inspect`: what is in a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from apsam_export.cli import main
from apsam_export.inspection import inspect, table
from apsam_serve.contract.manifest import (
    Flops,
    Gate,
    KernelSpec,
    Pass,
    open_bundle,
    write_manifest,
)
from tests.serve.conftest import NAMED_MODEL, write_tiny_bundle


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A bundle with everything that a bundle can have."""
    path = tmp_path / "bundle"
    write_tiny_bundle(path, NAMED_MODEL)
    manifest = open_bundle(path).manifest
    (path / "kernels_sm_89.cubin").write_bytes(b"\x7fELF" * 500)
    plan = replace(
        manifest.builds["fp32"],
        form="tensorrt",
        gate=Gate(passed=False, detail="not run: no GPU"),
        compiled={"library": "tensorrt", "version": "10.13", "target": {"gpu": "L4"}},
    )
    kernels = KernelSpec(
        source_sha256="0" * 64,
        compiler="NVRTC 13.0",
        options=("--fmad=false",),
        files={"sm_89": "kernels_sm_89.cubin"},
    )
    write_manifest(
        path,
        replace(
            manifest,
            builds={**manifest.builds, "trt": plan},
            flops={"image_encoder": Flops(published=4e9, exported=3e9)},
            passes=(Pass(name="fold_positions", prevents="a matrix of tokens x tokens"),),
            kernels=kernels,
        ),
    )
    (tmp_path / "bundle.sig").write_text("a signature")
    return path


def test_a_table_names_builds_graphs_tensors_sizes_and_flops(
    rich: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--inspect", str(rich)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "tiny, 64 x 64 pixels, 3 categories",
        "signature bundle.sig",
        "build fp32 (onnx, fp32): passed",
        "build trt (tensorrt, fp32): NOT VERIFIED",
        "not run: no GPU",
        "image uint8 [B, 64, 64, 3] ->",
        "-> embedding float32 [B, 8, 4, 4]",
        "-> category_logits float32 [P, 4]",
        "compiled: version 10.13",
        "in 1e9; exported: FP32",
        "4.00      3.00  25.0%",
        "fold_positions  a matrix of tokens x tokens",
        "sm_89  kernels_sm_89.cubin  0.00 MB",
    ):
        assert words in shown, words
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_json_holds_the_same_for_programs(rich: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--inspect", str(rich), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert table(found) == table(inspect(rich))
    graph = found["builds"]["fp32"]["graphs"]["image_encoder"]
    assert graph["num_bytes"] == (rich / "image_encoder.onnx").stat().st_size
    assert graph["num_operators"] == 5
    assert graph["num_weights"] == 1 + 8 * 3
    assert found["kernels"]["files"]["sm_89"]["num_bytes"] == 2000
    assert found["signature"] == "bundle.sig"


def test_a_changed_bundle_is_refused(rich: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (rich / "more.txt").write_text("more")
    assert main(["--inspect", str(rich)]) == 2
    assert "more.txt is not in" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["--inspect", "--verify"])
def test_a_bundle_is_looked_at_without_the_libraries_of_training(rich: Path, mode: str) -> None:
    hidden = "torch torchvision onnxscript segment_anything sklearn rich"
    hidden += " apsam_train.models apsam_train.checkpoint apsam_train.data"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden!r}.split()));"
        "from apsam_export.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    manifest = open_bundle(rich).manifest
    write_manifest(rich, replace(manifest, builds={"fp32": manifest.builds["fp32"]}))
    done = subprocess.run(
        [sys.executable, "-c", code, mode, str(rich)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "fp32" in done.stdout
