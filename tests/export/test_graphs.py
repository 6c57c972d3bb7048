"""The graphs of a bundle: free axes, operators, and the answers of their checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from apsam_export.errors import ParityError
from apsam_export.gate.parity import check, compare
from apsam_export.gate.reference import Reference
from apsam_export.gate.samples import sample
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_export.split import write_graph
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.manifest import GRAPH_NAMES, Manifest, open_bundle, write_manifest
from apsam_serve.contract.prompts import Prompt
from apsam_serve.local import open_bundle as open_segmenter
from apsam_serve.runtime.base import Runner
from apsam_train.categories import CATEGORIES
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models import APSAM, PRESETS, Preset, with_category_head
from apsam_train.segmenter import TorchSegmenter
from tests.train.conftest import SMALL

Opened = Callable[..., Runner]


def with_head(checkpoint: Path) -> APSAM:
    """The model of the checkpoint with a category head, as if trained afterwards."""
    torch.manual_seed(1)
    return with_category_head(load_checkpoint(checkpoint)[0]).eval()


def picture_with_prompts() -> tuple[NDArray[np.uint8], list[Prompt]]:
    one = sample(1, side=200)
    return one.image, [about.prompt for about in one.prompts]


@pytest.fixture(scope="session")
def named_bundle(checkpoint: Path, bundle: Path) -> Path:
    """The bundle with another decoder: a head changes neither encoder."""
    path = checkpoint.parent / "named_bundle"
    fp32 = open_bundle(bundle).manifest.builds["fp32"]
    with pytest.MonkeyPatch.context() as patch, new_folder(path) as folder:
        patch.setitem(PRESETS, "tiny", SMALL)
        model = with_head(checkpoint)
        for graph in ("image_encoder", "energy_encoder"):
            shutil.copy(bundle / f"{graph}.onnx", folder)
        graphs = {
            **fp32.graphs,
            "prompt_decoder": write_graph(model, "prompt_decoder", folder),
        }
        builds = {"fp32": replace(fp32, graphs=graphs)}
        write_manifest(folder, Manifest(model=model.preset.spec, builds=builds, provenance={}))
    return path


@pytest.mark.parametrize(("num_images", "num_prompts", "num_points"), [(1, 1, 1), (3, 7, 5)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_axes_are_free_where_the_contract_says(
    bundle: Path,
    opened: Opened,
    precision: str,
    num_images: int,
    num_prompts: int,
    num_points: int,
) -> None:
    runner = opened(bundle, precision)
    spec = runner.model
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
    assert encoded.embedding.dtype == {"fp32": np.float32, "fp16": np.float16}[precision]
    assert decoded.logits.shape == (num_prompts, 4, spec.mask_side, spec.mask_side)
    assert decoded.iou.shape == (num_prompts, 4)
    assert decoded.category_logits is None


def test_no_graph_holds_an_operator_that_compilers_stumble_over(
    bundle: Path, named_bundle: Path
) -> None:
    refused = {"OneHot", "Tile", "ScatterND", "ScatterElements", "NonZero", "Resize"}
    named = named_bundle / "prompt_decoder.onnx"
    graphs = [bundle / f"{name}{twin}.onnx" for name in GRAPH_NAMES for twin in ("", ".fp16")]
    for path in (*graphs, named):
        used = {node.op_type for node in onnx.load(path).graph.node}
        assert not refused & used, path
    assert not {"ArgMax", "TopK", "GatherElements", "GatherND"} & used


def test_bundle_and_checkpoint_answer_alike(bundle: Path, model: APSAM) -> None:
    image, prompts = picture_with_prompts()
    local = open_segmenter(bundle)
    ours, theirs = TorchSegmenter(model).encode(image), local.encode(image)
    try:
        for strategy in ("direct", "apg"):
            answers = (side.segment(prompts, strategy=strategy) for side in (ours, theirs))
            for a, b in zip(*answers, strict=True):
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
    model: APSAM, bundle: Path, opened: Opened, part: str, tensor: str
) -> None:
    with torch.no_grad():
        model.get_parameter(part).mul_(1.05)
    reference = Reference.of(model, num_images=2)
    with pytest.raises(ParityError, match=f"({tensor}) differs from the checkpoint by"):
        check(compare(reference, opened(bundle), THRESHOLDS["fp32"]))


def test_a_category_head_passes_the_gate_and_a_wrong_weight_of_it_does_not(
    preset: Preset, checkpoint: Path, named_bundle: Path, opened: Opened
) -> None:
    model, runner = with_head(checkpoint), opened(named_bundle)
    report = compare(Reference.of(model, num_images=2), runner, THRESHOLDS["fp32"])
    check(report)
    assert report.tensors["category_logits"].max < 1e-4
    with torch.no_grad():
        model.get_parameter("category_head.layers.0.weight").mul_(1.05)
    with pytest.raises(ParityError, match="category_logits differs from the checkpoint by"):
        check(compare(Reference.of(model, num_images=2), runner, THRESHOLDS["fp32"]))


@pytest.mark.parametrize("num_prompts", [1, 7])
def test_the_bundle_names_categories_and_answers_for_any_number_of_prompts(
    named_bundle: Path, opened: Opened, num_prompts: int
) -> None:
    runner = opened(named_bundle)
    spec = runner.model
    assert spec.categories == CATEGORIES
    encoded = runner.encode(np.zeros((1, spec.side, spec.side, 3), np.uint8))
    decoded = runner.decode(
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
    preset: Preset, named_bundle: Path, checkpoint: Path
) -> None:
    image, prompts = picture_with_prompts()
    ours = TorchSegmenter(with_head(checkpoint)).encode(image)
    local = open_segmenter(named_bundle)
    theirs = local.encode(image)
    for a, b in zip(ours.segment(prompts), theirs.segment(prompts), strict=True):
        assert a.category == b.category
        assert a.category_probability == pytest.approx(b.category_probability, abs=1e-4)
    local.close()
