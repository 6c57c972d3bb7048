"""From checkpoint to bundle, and the gate between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from apsam_export import export as export_module
from apsam_export.cli import main
from apsam_export.errors import ParityError
from apsam_export.export import export
from apsam_export.parity import check, compare
from apsam_export.samples import sample
from apsam_export.split import write_graph
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import (
    GRAPH_NAMES,
    GraphSpec,
    Manifest,
    open_bundle,
    write_manifest,
)
from apsam_serve.errors import OutputExistsError
from apsam_serve.local import open_bundle as open_segmenter
from apsam_serve.runtime import base
from apsam_serve.runtime.base import Runner
from apsam_train.categories import CATEGORIES
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main as train_main
from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, Preset, build, with_category_head
from apsam_train.sam_weights import load_sam
from apsam_train.segmenter import TorchSegmenter
from tests.train.conftest import SMALL, write_blocks
from tests.train.sam_files import SMALL_SAM, write_sam

TRAINING = {"data": "none", "config": {"apg": {"core": 2.0}}}


@pytest.fixture(scope="module")
def preset() -> Iterator[Preset]:
    """The tiny preset made smaller, for this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL)
        yield SMALL


@pytest.fixture(scope="module")
def checkpoint(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build(preset)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, model, Card.of(model, TRAINING))
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    path = checkpoint.parent / "bundle"
    export(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def blocks_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    write_blocks(folder, num_images=4)
    return folder


@pytest.fixture
def runner(bundle: Path) -> Iterator[Runner]:
    runner = base.load("onnxruntime")(open_bundle(bundle), base.RunnerOptions())
    runner.open()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def named_checkpoint(checkpoint: Path) -> Path:
    """The checkpoint with a category head, as if trained afterwards."""
    torch.manual_seed(1)
    model = with_category_head(export_module.load_checkpoint(checkpoint)[0])
    path = checkpoint.parent / "named.safetensors"
    save_checkpoint(path, model, Card.of(model, {}))
    return path


@pytest.fixture(scope="module")
def named_bundle(named_checkpoint: Path, bundle: Path) -> Path:
    """The bundle with another decoder: a head changes neither encoder."""
    path = named_checkpoint.parent / "named_bundle"
    model, _ = export_module.load_checkpoint(named_checkpoint)
    graphs = dict(open_bundle(bundle).manifest.graphs)
    with new_folder(path) as folder:
        for graph in ("image_encoder", "energy_encoder"):
            shutil.copy(bundle / f"{graph}.onnx", folder)
        graphs["prompt_decoder"] = write_graph(model, "prompt_decoder", folder)
        write_manifest(folder, Manifest(model=model.preset.spec, graphs=graphs, provenance={}))
    return path


@pytest.fixture
def named_runner(named_bundle: Path) -> Iterator[Runner]:
    runner = base.load("onnxruntime")(open_bundle(named_bundle), base.RunnerOptions())
    runner.open()
    yield runner
    runner.close()


@pytest.fixture
def model(checkpoint: Path) -> APSAM:
    return export_module.load_checkpoint(checkpoint)[0]


def test_the_bundle_lists_its_graphs_and_where_it_came_from(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert set(manifest.graphs) == set(GRAPH_NAMES)
    assert {"parity.json", "card.json", "image_encoder.onnx"} <= set(manifest.files)
    assert len(manifest.provenance["checkpoint_sha256"]) == 64
    assert manifest.provenance["training"] == TRAINING
    assert manifest.model.apg_core == 2.0
    assert manifest.provenance["environment"]["libraries"]["torch"]


def test_the_report_is_in_the_bundle_and_far_inside_its_thresholds(bundle: Path) -> None:
    report = json.loads((bundle / "parity.json").read_text())
    assert set(report["tensors"]) == {
        "embedding",
        "energy_query",
        "attention",
        "low_res_logits",
        "iou",
    }
    assert all(t["max"] < 1e-4 for t in report["tensors"].values())
    assert report["mask_iou_min"] > 0.999
    assert report["num_prompts"] >= 40


@pytest.mark.parametrize(("num_images", "num_prompts", "num_points"), [(1, 1, 1), (3, 7, 5)])
def test_axes_are_free_where_the_contract_says(
    runner: Runner, preset: Preset, num_images: int, num_prompts: int, num_points: int
) -> None:
    spec = preset.spec
    images = np.zeros((num_images, spec.side, spec.side, 3), np.uint8)
    encoded = runner.encode(images)
    decoded = runner.decode(
        embedding=encoded.embedding,
        energy_query=encoded.energy_query,
        image_index=np.arange(num_prompts) % num_images,
        coords=np.zeros((num_prompts, num_points, 2), np.float32),
        labels=np.ones((num_prompts, num_points), np.float32),
        mask_input=np.zeros((num_prompts, 1, spec.mask_side, spec.mask_side), np.float32),
        has_mask_input=np.zeros(num_prompts, np.float32),
    )
    assert decoded.logits.shape == (num_prompts, 4, spec.mask_side, spec.mask_side)
    assert decoded.iou.shape == (num_prompts, 4)
    assert decoded.category_logits is None


def test_no_graph_holds_an_operator_that_compilers_stumble_over(
    bundle: Path, named_bundle: Path
) -> None:
    refused = {"OneHot", "Tile", "ScatterND", "ScatterElements", "NonZero", "Resize"}
    named = named_bundle / "prompt_decoder.onnx"
    for path in (*(bundle / f"{name}.onnx" for name in GRAPH_NAMES), named):
        used = {node.op_type for node in onnx.load(path).graph.node}
        assert not refused & used, path
    assert not {"ArgMax", "TopK", "GatherElements", "GatherND"} & used


def test_bundle_and_checkpoint_answer_alike(bundle: Path, model: APSAM) -> None:
    image, prompts = sample(1, side=200)
    local = open_segmenter(bundle)
    try:
        for strategy in ("direct", "apg"):
            ours = TorchSegmenter(model).encode(image).segment(prompts, strategy=strategy)
            theirs = local.encode(image).segment(prompts, strategy=strategy)
            for a, b in zip(ours, theirs, strict=True):
                assert np.mean(a.mask != b.mask) < 1e-3
                assert a.branch == b.branch
                assert [(p.x, p.y) for p in a.points] == [(p.x, p.y) for p in b.points]
    finally:
        local.close()


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("image_encoder.blocks.0.mlp.lin1.weight", "embedding"),
        ("energy_encoder.blocks.0.0.weight", "energy_query|attention"),
        ("mask_decoder.output_upscaling.0.weight", "low_res_logits"),
    ],
)
def test_the_gate_catches_a_wrong_weight(
    model: APSAM, runner: Runner, part: str, tensor: str
) -> None:
    with torch.no_grad():
        model.get_parameter(part).mul_(1.05)
    with pytest.raises(ParityError, match=f"({tensor}) differs from the checkpoint by"):
        check(compare(model, runner, num_images=2))


def test_the_gate_catches_swapped_colours(model: APSAM, runner: Runner) -> None:
    model.pixel_mean.copy_(model.pixel_mean.flip(0))
    with pytest.raises(ParityError, match="embedding differs"):
        check(compare(model, runner, num_images=2))


def test_a_category_head_passes_the_gate_and_a_wrong_weight_of_it_does_not(
    named_checkpoint: Path, named_runner: Runner
) -> None:
    model, _ = export_module.load_checkpoint(named_checkpoint)
    report = compare(model, named_runner, num_images=2)
    check(report)
    assert report.tensors["category_logits"].max < 1e-4
    with torch.no_grad():
        model.get_parameter("category_head.layers.0.weight").mul_(1.05)
    with pytest.raises(ParityError, match="category_logits differs from the checkpoint by"):
        check(compare(model, named_runner, num_images=2))


@pytest.mark.parametrize("num_prompts", [1, 7])
def test_the_bundle_names_categories_and_answers_for_any_number_of_prompts(
    named_runner: Runner, num_prompts: int
) -> None:
    spec = named_runner.model
    assert spec.categories == CATEGORIES
    encoded = named_runner.encode(np.zeros((1, spec.side, spec.side, 3), np.uint8))
    decoded = named_runner.decode(
        embedding=encoded.embedding,
        energy_query=encoded.energy_query,
        image_index=np.zeros(num_prompts, np.int64),
        coords=np.zeros((num_prompts, 2, 2), np.float32),
        labels=np.ones((num_prompts, 2), np.float32),
        mask_input=np.zeros((num_prompts, 1, spec.mask_side, spec.mask_side), np.float32),
        has_mask_input=np.zeros(num_prompts, np.float32),
    )
    assert decoded.category_logits is not None
    assert decoded.category_logits.shape == (num_prompts, 31)


def test_bundle_and_checkpoint_name_the_same_category(
    named_bundle: Path, named_checkpoint: Path
) -> None:
    image, prompts = sample(1, side=200)
    ours = TorchSegmenter(export_module.load_checkpoint(named_checkpoint)[0]).encode(image)
    local = open_segmenter(named_bundle)
    theirs = local.encode(image)
    for a, b in zip(ours.segment(prompts), theirs.segment(prompts), strict=True):
        assert a.category == b.category
        assert a.category_probability == pytest.approx(b.category_probability, abs=1e-4)
    local.close()


def test_not_a_number_does_not_pass_the_gate(model: APSAM, runner: Runner) -> None:
    with torch.no_grad():
        model.get_parameter("image_encoder.neck.0.weight").fill_(float("nan"))
    with pytest.raises(ParityError, match="embedding differs from the checkpoint by nan"):
        check(compare(model, runner, num_images=1))


def test_a_bundle_that_fails_the_gate_is_not_written(
    checkpoint: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied_graph(_model: APSAM, graph: str, folder: Path) -> GraphSpec:
        shutil.copy(bundle / f"{graph}.onnx", folder)
        return open_bundle(bundle).manifest.graphs[graph]

    other = build(SMALL)
    monkeypatch.setattr(export_module, "write_graph", copied_graph)
    loaded = other, Card.of(other, {})
    monkeypatch.setattr(export_module, "load_checkpoint", lambda _path, **_options: loaded)
    with pytest.raises(ParityError, match="the bundle was not written"):
        export(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "write_graph", interrupt)
    code = main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "bundle")])
    assert code == 130
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_not_overwritten(checkpoint: Path, bundle: Path) -> None:
    with pytest.raises(OutputExistsError, match="exists already; choose another folder"):
        export(checkpoint, bundle)


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

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "write_graph", interrupt)
    assert main([*command, "--sam", str(sam)]) == 130


def test_a_bundle_is_scored_like_its_checkpoint(
    bundle: Path, checkpoint: Path, blocks_dataset: Path, tmp_path: Path
) -> None:
    figures = []
    for target in (bundle, checkpoint):
        out = tmp_path / f"{target.name}.json"
        command = ["evaluate", str(target), "--data", str(blocks_dataset), "--seeds", "0"]
        assert train_main([*command, "--out", str(out)]) == 0
        (row,) = json.loads(out.read_text())["rows"]
        protocols = row["protocols"]
        figures.append([protocols[name]["miou"] for name in sorted(protocols)])
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)
