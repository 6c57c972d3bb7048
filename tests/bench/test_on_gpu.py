"""The GPU's benchmark, on a double of a device: all of it but the GPU's own times."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from apsam_serve.contract.manifest import REFERENCE_BUILD, Bundle, open_bundle, write_manifest
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.runtime.base import Create, RunnerOptions
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import PRESETS, build
from bench import ceiling, load_accuracy, on_gpu, on_gpu_builds
from bench.ceiling import Shape
from bench.goals import GOALS
from bench.load_accuracy import Reference
from bench.measure.document import MaskIou, Row
from bench.measure.workload import Workload, synthetic
from bench.models import ModelFiles
from bench.on_gpu import Found
from tests.serve.engine.device_double import HostDevice, HostRunner
from tests.serve.ops.host_build import load_host
from tests.train.conftest import SMALL

PRESET = replace(SMALL, stem="patch", depth=1, global_blocks=())
BUILDS = ("first", "broken", "second")
FIGURES = {
    "ceiling_tflop_per_s",
    "encode_tiny_vs_eager_fp16_b1",
    "encode_tiny_vs_eager_fp16_b2",
    "encode_tiny_ceiling_share",
    "click_gpu_ms_tiny",
    "apg_kernel_us",
    "click_gpu_grpc_ms_tiny",
    "cold_start_gpu_s_tiny",
}
SHORT = ("--preset", "tiny", "--batches", "1,2", "--rounds", "2", "--starts", "1")


class OpenedRunner(HostRunner):
    """The double, opened and closed as a back end's is."""

    opened = 0

    def open(self) -> None:
        type(self).opened += 1

    def close(self) -> None:
        type(self).opened -= 1
        assert self.device.allocated == 0, "what the engine holds was not given back"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_host(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def files(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFiles:
    """A bundle of builds beside the reference, and a checkpoint of the same side."""
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    bundle, checkpoint = tmp_path / "bundle", tmp_path / "model.safetensors"
    shutil.copytree(tiny_bundle, bundle)
    manifest = open_bundle(bundle).manifest
    reference = manifest.builds[REFERENCE_BUILD]
    builds = {name: reference for name in (REFERENCE_BUILD, *BUILDS)}
    write_manifest(bundle, replace(manifest, builds=builds))
    model = build(PRESET)
    save_checkpoint(checkpoint, model, Card.of(model, {"data": "none"}))
    return ModelFiles(checkpoint=checkpoint, bundle=bundle, note="random weights")


@pytest.fixture
def double(
    files: ModelFiles, kernels: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """A machine with a double of a GPU; the builds that do not open on it."""
    broken = ["broken"]

    def create(bundle: Bundle, options: RunnerOptions) -> OpenedRunner:
        if options.build in broken:
            raise BackendUnavailableError("no room\nfor the plan")
        return OpenedRunner(bundle, HostDevice(kernels), replayable=True)

    def load(name: str) -> Create:
        assert name == "onnxruntime"
        return create  # type: ignore[return-value]

    def reference(workload: Workload, *, bundle: Path, checkpoint: Path) -> Reference:
        return load_accuracy.reference(workload, bundle=bundle, checkpoint=None)

    workload = synthetic(num_images=1, clicks_per_image=2)
    monkeypatch.setattr(on_gpu, "DEVICE", "cpu")
    monkeypatch.setattr(on_gpu, "bundle_of", lambda _preset, options: files)
    monkeypatch.setattr(on_gpu, "for_this_gpu", lambda: ("--kernels", "sm_90"))
    monkeypatch.setattr(on_gpu, "reference", reference)
    monkeypatch.setattr(on_gpu, "synthetic", lambda: workload)
    monkeypatch.setattr(on_gpu_builds, "load", load)
    monkeypatch.setattr(on_gpu_builds, "GOAL_BATCH", 2)
    monkeypatch.setattr(on_gpu_builds, "_RECORDED", 2)
    monkeypatch.setattr(on_gpu_builds, "_LAUNCHES", 2)
    monkeypatch.setitem(ceiling.DTYPES["cpu"], "bf16", torch.bfloat16)
    monkeypatch.setitem(ceiling.SHAPES, "cpu", (Shape(rows=8, inputs=16, outputs=32),))
    yield broken
    assert OpenedRunner.opened == 0


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """(exit code, the document of the last line)."""
    code = on_gpu.main(SHORT)
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_every_build_has_its_rows_and_one_of_them_all_figures(
    double: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also beside one that fails."""
    code, document = run(capsys)
    assert code == 0
    rows = {(row["group"], row["name"]): row for row in document["rows"]}
    assert len(rows) == len(document["rows"])
    for name in ("first", "second"):
        for batch in (1, 2):
            eager = f"segment_anything, eager fp16, in turns with {name}"
            for group in ("image encoder on the GPU", "whole encode from the host"):
                ours = rows[f"{group}, tiny, batch {batch}", name]
                assert ours["distribution"]["num"] == 2
                assert rows[f"{group}, tiny, batch {batch}", eager]["distribution"]["num"] == 2
            assert ours["stages"].keys() == {"transfer", "encode", "energy"}
        clicks = "click on the GPU, tiny"
        for row in (rows[clicks, f"{name}, engine"], rows[clicks, f"{name} through gRPC"]):
            assert row["mask_iou"] == {"num": 2, "minimum": 1.0, "mean": 1.0}
            assert row["distribution"]["num"] == 2
        kernel = rows[clicks, f"{name}, kernel of the adaptive points"]
        assert (kernel["unit"], kernel["distribution"]["num"]) == ("us", 2)
        assert rows["start", f"{name}, to SERVING"]["distribution"]["num"] == 1
    assert rows["left out", "broken"]["note"] == "for the plan"
    assert document["settings"]["weights"] == "random weights"
    chosen = document["settings"]["build"]
    assert chosen in ("first", "second")
    figures = {one["key"]: one for one in document["figures"]}
    assert figures.keys() == FIGURES
    for key, figure in figures.items():
        assert figure["value"] > 0, key
        assert key == "ceiling_tflop_per_s" or chosen in figure["detail"], key


def test_where_every_build_fails_so_does_the_benchmark(
    double: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    double += ("first", "second")
    code, document = run(capsys)
    assert (code, document["figures"]) == (1, [])
    assert [row["name"] for row in document["rows"] if row["group"] == "left out"] == [*BUILDS]


@pytest.mark.parametrize(
    ("builds", "chosen"),
    [
        ({"fp16": (1.0, 1.5), "tensorrt": (1.0, 0.9)}, "tensorrt"),
        ({"fp16": (0.995, 1.5), "tensorrt": (0.98, 0.9)}, "fp16"),
        ({"fp16": (0.9, 1.5)}, None),
        ({}, None),
    ],
)
def test_the_fastest_build_of_those_that_answer_as_they_should_stands_for_all(
    builds: dict[str, tuple[float, float]], chosen: str | None
) -> None:
    best = on_gpu.fastest([found(name, *both) for name, both in builds.items()])
    assert (best and best.name) == chosen


def test_there_is_a_figure_for_every_goal_of_a_gpu() -> None:
    found = {key.replace("tiny", "vit_l").replace("b2", "b16") for key in FIGURES}
    assert {goal.key for goal in GOALS if goal.hardware == "gpu"} <= found


def found(name: str, iou: float, click_ms: float) -> Found:
    rows = [Row(name=name, samples=(), mask_iou=MaskIou.of([one])) for one in (1.0, iou)]
    return Found(name=name, rows=rows, figures=(), click_ms=click_ms)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_gpu.main([]) == 1
    assert "finds no NVIDIA GPU; run `make bench-gpu` where there is one" in capsys.readouterr().err
