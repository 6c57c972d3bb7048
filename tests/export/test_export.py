"""From checkpoint to bundle: all of it, or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apsam_export import export as export_module
from apsam_export.cli import main
from apsam_export.errors import ParityError
from apsam_export.export import export
from apsam_export.gate.record import FILE
from apsam_export.gate.report import Report
from apsam_export.gate.verify import failed, verify
from apsam_export.request import Request
from apsam_serve import signing
from apsam_serve.contract.manifest import GRAPH_NAMES, GraphSpec, Precision, open_bundle
from apsam_serve.errors import OutputExistsError, SignatureError, UnverifiedBuildError
from apsam_serve.ops.sources import kernel_file
from apsam_serve.runtime.base import RunnerOptions
from apsam_serve.runtime.builds import pick
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main as train_main
from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, Preset, build
from apsam_train.sam_weights import load_sam
from tests.export.conftest import TRAINING
from tests.serve.test_signing import write_keys
from tests.train.conftest import SMALL, write_blocks
from tests.train.sam_files import SMALL_SAM, write_sam


@pytest.fixture
def copying(bundle: Path, preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export takes the graphs of the bundle that is there instead of tracing the model again."""

    def copied_graph(
        _model: APSAM, graph: str, folder: Path, precision: Precision = "fp32"
    ) -> GraphSpec:
        spec = open_bundle(bundle).manifest.builds[precision].graphs[graph]
        shutil.copy(bundle / spec.file, folder)
        return spec

    monkeypatch.setattr(export_module, "write_graph", copied_graph)


def interrupt(*_args: object) -> None:
    raise KeyboardInterrupt


def test_the_bundle_lists_its_graphs_and_where_it_came_from(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert list(manifest.builds) == ["fp32", "fp16", "rtx-fp16"]
    for one in manifest.builds.values():
        assert set(one.graphs) == set(GRAPH_NAMES)
    for name in ("fp32", "fp16"):
        gate = manifest.builds[name].gate
        assert gate.passed
        assert gate.thresholds["min_mask_iou"] > 0
    assert {"parity.json", "parity.html", FILE, "card.json", "image_encoder.onnx"} <= set(
        manifest.files
    )
    assert len(manifest.provenance["checkpoint_sha256"]) == 64
    assert manifest.provenance["training"] == TRAINING
    assert manifest.model.apg_core == 2.0
    assert manifest.provenance["environment"]["libraries"]["torch"]


def test_the_reports_are_in_the_bundle_and_far_inside_their_thresholds(bundle: Path) -> None:
    reports = json.loads((bundle / "parity.json").read_text())
    assert set(reports) == {"fp32", "fp16", "rtx-fp16"}
    for report in (reports["fp32"], reports["fp16"]):
        assert set(report["tensors"]) <= {
            *("embedding", "energy_query", "attention", "low_res_logits", "iou"),
        }
        assert report["mask_iou"]["num_prompts"] == 48
        assert report["clear_flips"] == 0
    assert all(tensor["max"] < 1e-4 for tensor in reports["fp32"]["tensors"].values())
    assert all(tensor["max"] < 5e-3 for tensor in reports["fp16"]["tensors"].values())
    assert reports["fp32"]["mask_iou"]["min"] > 0.999
    assert reports["fp16"]["mask_iou"]["min"] > 0.95
    assert "data:image/png" in (bundle / "parity.html").read_text()


def test_an_exported_bundle_verifies_without_its_checkpoint(bundle: Path) -> None:
    outcomes = verify(bundle)
    assert {"fp32", "fp16"} <= {n for n, found in outcomes.items() if isinstance(found, Report)}
    assert failed(outcomes) == []


def test_plans_come_from_the_fp16_graphs_and_count_as_passed_only_where_they_ran(
    bundle: Path,
) -> None:
    opened = open_bundle(bundle)
    plans, twins = (opened.manifest.builds[name] for name in ("rtx-fp16", "fp16"))
    for graph, spec in plans.graphs.items():
        twin = twins.graphs[graph]
        assert spec.file == f"plans/rtx-fp16/{graph}.plan"
        assert (spec.inputs, spec.outputs) == (twin.inputs, twin.outputs)
        source = twin.file
        digest = opened.manifest.files[source].sha256
        assert plans.compiled["sources"][graph] == {source: digest}
    reports = json.loads((bundle / "parity.json").read_text())
    assert plans.gate.passed == ("not_run" not in reports["rtx-fp16"])
    if not plans.gate.passed:
        with pytest.raises(UnverifiedBuildError, match=r"'rtx-fp16' .*has not passed its gate"):
            pick(opened, RunnerOptions(), forms=("tensorrt_rtx",))


def test_kernels_of_every_architecture_are_listed_and_fit_this_installation(bundle: Path) -> None:
    opened = open_bundle(bundle)
    spec = opened.manifest.kernels
    assert spec is not None
    assert list(spec.files) == ["sm_80", "sm_86", "sm_89", "sm_90", "sm_120"]
    for capability, architecture in (((8, 9), "sm_89"), ((9, 0), "sm_90"), ((12, 1), "sm_120")):
        name = kernel_file(spec, capability)
        assert name == spec.files[architecture]
        assert opened.file(name).read_bytes()[:4] == b"\x7fELF"


def test_a_bundle_that_fails_the_gate_is_not_written(
    checkpoint: Path, copying: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build(SMALL)
    loaded = other, Card.of(other, {})
    monkeypatch.setattr(export_module, "load_checkpoint", lambda _path, **_options: loaded)
    with pytest.raises(ParityError, match="the bundle was not written"):
        export(checkpoint, tmp_path / "bundle")
    command = ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "bundle")]
    assert main(command) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    preset: Preset, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "write_graph", interrupt)
    code = main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "bundle")])
    assert code == 130
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_not_overwritten(checkpoint: Path, bundle: Path) -> None:
    with pytest.raises(OutputExistsError, match="exists already; choose another folder"):
        export(checkpoint, bundle)


def test_an_export_is_signed_when_asked(checkpoint: Path, copying: None, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))
    out = tmp_path / "bundle"
    command = ["--checkpoint", str(checkpoint), "--out", str(out), "--sign", str(private)]
    assert main(command) == 0
    signing.verify(out, public)
    assert open_bundle(out).manifest.builds["fp32"].gate.passed


def test_a_key_that_cannot_sign_is_refused_before_anything_is_written(
    preset: Preset, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "write_graph", interrupt)
    request = Request(sign_with=tmp_path / "nowhere.pem")
    with pytest.raises(SignatureError, match=r"nowhere\.pem cannot sign"):
        export(checkpoint, tmp_path / "bundle", request=request)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError):
        export(broken, tmp_path / "bundle")
    assert main(["--checkpoint", str(broken), "--out", str(tmp_path / "bundle")]) == 2
    assert "broken.safetensors is no readable checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_delta_is_read_with_its_sam_file_and_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, SMALL_SAM.name, SMALL_SAM)
    sam, other = write_sam(tmp_path / "sam.pth"), write_sam(tmp_path / "other.pth", seed=1)
    model = build(SMALL_SAM)
    base = {"file": "moved.pth", "sha256": load_sam(sam, model)}
    model.freeze_sam()
    delta = tmp_path / "delta.safetensors"
    save_checkpoint(delta, model, Card.of(model, {}, base=base))
    command = ["--checkpoint", str(delta), "--out", str(tmp_path / "bundle")]
    assert main(command) == 2
    assert "no moved.pth lies beside it; give that file with --sam" in capsys.readouterr().err
    assert main([*command, "--sam", str(other)]) == 2
    assert "other.pth" in capsys.readouterr().err
    monkeypatch.setattr(export_module, "write_graph", interrupt)
    assert main([*command, "--sam", str(sam)]) == 130


def test_a_bundle_is_scored_like_its_checkpoint(
    preset: Preset, bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    write_blocks(blocks, num_images=4)
    figures = []
    for target in (bundle, checkpoint):
        out = tmp_path / f"{target.name}.json"
        command = ["evaluate", str(target), "--data", str(blocks), "--seeds", "0"]
        assert train_main([*command, "--out", str(out)]) == 0
        (row,) = json.loads(out.read_text())["rows"]
        protocols = row["protocols"]
        figures.append([protocols[name]["miou"] for name in sorted(protocols)])
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)
