"""Deliberate mistakes on the way from checkpoint to bundle: each must be caught."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from apsam_export import export as export_module
from apsam_export.errors import ParityError
from apsam_export.export import export
from apsam_export.gate.parity import check, compare
from apsam_export.gate.reference import Reference
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_export.request import Request
from apsam_export.split import write_graph
from apsam_serve.contract.manifest import GraphSpec, Precision, open_bundle
from apsam_train.models import APSAM
from tests.export.conftest import TorchRunner

Mutate = Callable[[APSAM], None]


def scale_attention(model: APSAM) -> None:
    for block in model.image_encoder.blocks:
        block.attn.scale *= 1.05


def swap_colours(model: APSAM) -> None:
    for buffer in (model.pixel_mean, model.pixel_std):
        buffer.copy_(buffer.flip(0))


def swap_rows_and_columns(model: APSAM) -> None:
    for block in model.image_encoder.blocks:
        rows, columns = block.attn.rel_pos_h, block.attn.rel_pos_w
        rows.data, columns.data = columns.data.clone(), rows.data.clone()


def reverse_positions(model: APSAM) -> None:
    for block in model.image_encoder.blocks:
        for table in (block.attn.rel_pos_h, block.attn.rel_pos_w):
            table.data = table.data.flip(0)


MUTATIONS = [scale_attention, swap_colours, swap_rows_and_columns, reverse_positions]


def mutated(model: APSAM, mutate: Mutate) -> APSAM:
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        mutate(wrong)
    return wrong


@pytest.fixture(scope="module")
def references() -> dict[str, Reference]:
    return {}


@pytest.mark.parametrize("mutate", MUTATIONS[:3], ids=lambda mutate: mutate.__name__)
def test_a_graph_of_a_wrong_model_is_caught_and_nothing_is_written(
    model: APSAM,
    checkpoint: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Mutate,
) -> None:
    def write_wrong(
        right: APSAM, graph: str, folder: Path, precision: Precision = "fp32"
    ) -> GraphSpec:
        if graph == "image_encoder":
            return write_graph(mutated(right, mutate), graph, folder, precision)
        spec = open_bundle(bundle).manifest.builds[precision].graphs[graph]
        shutil.copy(bundle / spec.file, folder)
        return spec

    monkeypatch.setattr(export_module, "write_graph", write_wrong)
    with pytest.raises(ParityError, match=r"onnx fp32 build .*: embedding differs .* not written"):
        export(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_twin_is_caught_although_fp32_is_right(
    checkpoint: Path,
    bundle: Path,
    model: APSAM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write_wrong(
        right: APSAM, graph: str, folder: Path, precision: Precision = "fp32"
    ) -> GraphSpec:
        if graph == "image_encoder" and precision == "fp16":
            return write_graph(mutated(right, scale_attention), graph, folder, precision)
        spec = open_bundle(bundle).manifest.builds[precision].graphs[graph]
        shutil.copy(bundle / spec.file, folder)
        return spec

    monkeypatch.setattr(export_module, "write_graph", write_wrong)
    with pytest.raises(ParityError, match=r"onnx fp16 build .*: embedding differs"):
        export(checkpoint, tmp_path / "bundle", request=Request(twins=("fp16",)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_thresholds_are_tight_enough_in_half_precision_too(
    model: APSAM, references: dict[str, Reference], mutate: Mutate, precision: Precision
) -> None:
    """In PyTorch, where no graph has to be written: rounding passes, the mistake does not."""
    reference = references.setdefault("checkpoint", Reference.of(model))
    right = TorchRunner(model, precision)
    check(compare(reference, right, THRESHOLDS[precision]))
    wrong = TorchRunner(mutated(model, mutate), precision)
    with pytest.raises(ParityError, match="embedding differs from the checkpoint by"):
        check(compare(reference, wrong, THRESHOLDS[precision]))
