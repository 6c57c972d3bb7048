"""`apsam-export --verify`: a bundle checked again without its checkpoint."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from apsam_export.cli import main
from apsam_export.gate import verify as verify_module
from apsam_export.gate.files import write_reports
from apsam_export.gate.record import FILE, write_record
from apsam_export.gate.reference import Reference
from apsam_export.gate.report import Report
from apsam_export.gate.verify import failed, verify
from apsam_serve import signing
from apsam_serve.contract.manifest import (
    Build,
    Gate,
    GraphSpec,
    Precision,
    open_bundle,
    write_manifest,
)
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import BundleError
from apsam_serve.runtime import base
from tests.serve.conftest import MODEL, write_tiny_bundle

UNTRIED = Gate(passed=False, detail="not run: no such machine")
WRONG_WEIGHT = {"image_encoder": "weight", "energy_encoder": "weight", "prompt_decoder": "scores"}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A bundle as export leaves it: with a second build that nobody could run yet, and one that
    this machine cannot run either."""
    path = tmp_path / "bundle"
    write_tiny_bundle(path, MODEL)
    bundle = open_bundle(path)
    runner = base.load("onnxruntime")(bundle, base.RunnerOptions(threads=1))
    runner.open()
    write_record(path, Reference.of_runner(runner), core=MODEL.apg_core)
    runner.close()
    fp32 = bundle.manifest.builds["fp32"]
    builds = {"fp32": fp32, "other": copied(path, fp32, "fp32"), "bf16": copied(path, fp32, "bf16")}
    write_reports(path, {name: build.gate.detail for name, build in builds.items()})
    write_manifest(path, replace(bundle.manifest, builds=builds))
    return path


def copied(path: Path, build: Build, precision: Precision) -> Build:
    """A build again, in files of its own, that says it is of this precision."""
    graphs = {}
    for name, (inputs, outputs) in tensor_specs(MODEL, precision).items():
        file = f"{name}.{'other' if precision == 'fp32' else 'bf16'}.onnx"
        shutil.copy(path / build.graphs[name].file, path / file)
        graphs[name] = GraphSpec(file=file, inputs=inputs, outputs=outputs)
    return replace(build, precision=precision, graphs=graphs, gate=UNTRIED)


def spoil(path: Path, graph: str, suffix: str = "") -> None:
    """Change one weight of a graph, and hash it again, as a wrong export would have."""
    manifest, file = open_bundle(path).manifest, path / f"{graph}{suffix}.onnx"
    model = onnx.load(file)
    for weight in model.graph.initializer:
        if weight.name == WRONG_WEIGHT[graph]:
            changed = numpy_helper.to_array(weight) * np.float32(1.05)
            weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, file)
    write_manifest(path, manifest)


def test_every_build_that_runs_here_is_compared_and_nothing_is_written(tiny: Path) -> None:
    before = {file: file.read_bytes() for file in tiny.iterdir()}
    said: list[str] = []
    outcomes = verify(tiny, say=said.append)
    for name in ("fp32", "other"):
        found = outcomes[name]
        assert isinstance(found, Report)
        assert found.passed
        assert found.mask_iou.num_prompts == 48
    assert isinstance(outcomes["bf16"], str)
    assert outcomes["fp32"].reference == "the checkpoint at export"
    assert outcomes["other"].reference == "the FP32 build"
    assert "files are what was exported" in said[0]
    assert failed(outcomes) == []
    assert {file: file.read_bytes() for file in tiny.iterdir()} == before


@pytest.mark.parametrize("graph", WRONG_WEIGHT)
def test_a_build_that_computes_something_else_fails(tiny: Path, graph: str) -> None:
    spoil(tiny, graph, ".other")
    assert failed(verify(tiny)) == ["other"]


@pytest.mark.parametrize("graph", WRONG_WEIGHT)
def test_fp32_is_held_to_what_the_checkpoint_answered_at_export(tiny: Path, graph: str) -> None:
    spoil(tiny, graph)
    assert "fp32" in failed(verify(tiny))


def test_without_a_record_fp32_runs_and_is_not_judged(tiny: Path) -> None:
    manifest = open_bundle(tiny).manifest
    (tiny / FILE).unlink()
    write_manifest(tiny, manifest)
    outcomes = verify(tiny)
    assert outcomes["fp32"] == f"the bundle has no {FILE}; export it again to have FP32 checked too"
    assert isinstance(outcomes["other"], Report)


def test_a_record_of_other_samples_is_not_compared(tiny: Path) -> None:
    manifest, document = open_bundle(tiny).manifest, json.loads((tiny / FILE).read_text())
    (tiny / FILE).write_text(json.dumps(document | {"samples": "0" * 64}))
    write_manifest(tiny, manifest)
    assert "another release drew other samples" in str(verify(tiny)["fp32"])


def test_changed_bytes_and_other_tensors_are_refused(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = open_bundle(tiny).manifest
    twin = manifest.builds["bf16"]
    graphs = {**twin.graphs, "image_encoder": twin.graphs["energy_encoder"]}
    builds = {**manifest.builds, "bf16": replace(twin, graphs=graphs)}
    write_manifest(tiny, replace(manifest, builds=builds))
    with pytest.raises(BundleError, match=r"image_encoder of build 'bf16' has other tensors"):
        verify(tiny)
    (tiny / "image_encoder.onnx").write_bytes(b"")
    assert main(["--verify", str(tiny)]) == 2
    assert "image_encoder.onnx is not the file that was exported" in capsys.readouterr().err


def test_what_passes_is_recorded_and_may_be_served_from_then_on(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signing.signature_file(tiny).write_text("an older signature")
    before = open_bundle(tiny)
    assert main(["--verify", str(tiny), "--record"]) == 0
    shown = capsys.readouterr()
    assert "other  passed" in shown.out
    assert "bundle.sig is no longer its signature; sign it again" in shown.err
    after = open_bundle(tiny)
    assert after.digest != before.digest
    assert after.manifest.builds["other"].gate.passed
    assert "within 0.0e+00 of the FP32 build" in after.manifest.builds["other"].gate.detail
    for name in ("fp32", "bf16"):
        assert after.manifest.builds[name] == before.manifest.builds[name]
    reports = json.loads((tiny / "parity.json").read_text())
    assert reports["other"]["passed"]
    assert reports["bf16"] == {"not_run": UNTRIED.detail}
    assert "not run: no such machine" in (tiny / "parity.html").read_text()
    assert sorted(file.name for file in tiny.parent.iterdir()) == ["bundle", "bundle.sig"]


def test_a_link_to_a_bundle_stays_a_link(tiny: Path) -> None:
    link = tiny.with_name("current")
    link.symlink_to(tiny)
    verify(link, record=True)
    assert link.is_symlink()
    assert open_bundle(link).manifest.builds["other"].gate.passed


def test_what_fails_is_recorded_as_failed_and_exits_with_1(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--verify", str(tiny), "--record"]) == 0
    spoil(tiny, "image_encoder", ".other")
    assert open_bundle(tiny).manifest.builds["other"].gate.passed
    assert main(["--verify", str(tiny), "--record"]) == 1
    assert "error: build other fails here" in capsys.readouterr().err
    gate = open_bundle(tiny).manifest.builds["other"].gate
    assert not gate.passed
    assert gate.detail.startswith("embedding differs from the FP32 build by")


def test_nothing_is_recorded_on_the_word_of_an_fp32_build_that_fails(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in ("", ".other"):
        spoil(tiny, "image_encoder", suffix)
    digest = open_bundle(tiny).digest
    assert main(["--verify", str(tiny), "--record"]) == 1
    shown = capsys.readouterr()
    assert "fp32   FAILED" in shown.out
    assert "nothing is recorded: FP32, the measure of all builds" in shown.err
    assert open_bundle(tiny).digest == digest


def test_a_bundle_that_cannot_be_replaced_is_put_back(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError("no renaming here")
        return rename(self, target)

    digest = open_bundle(tiny).digest
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        verify(tiny, record=True)
    assert open_bundle(tiny).digest == digest
    assert list(tiny.parent.iterdir()) == [tiny]


def test_an_interrupted_recording_leaves_the_bundle_as_it_was(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    digest = open_bundle(tiny).digest
    monkeypatch.setattr(verify_module, "write_manifest", interrupt)
    assert main(["--verify", str(tiny), "--record"]) == 130
    assert open_bundle(tiny).digest == digest
    assert list(tiny.parent.iterdir()) == [tiny]
