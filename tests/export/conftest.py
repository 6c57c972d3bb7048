"""A checkpoint small enough to export in every run, its bundle, and doubles of builds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apsam_export.export import export
from apsam_export.graphs import GRAPHS
from apsam_export.kernels import ARCHITECTURES
from apsam_export.passes import rewritten
from apsam_export.request import Request
from apsam_export.twins import typed
from apsam_serve.contract.manifest import Build, Gate, ModelSpec, Precision, open_bundle
from apsam_serve.contract.tensors import DTYPES
from apsam_serve.runtime import base
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, Runner
from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.models import APSAM, PRESETS, Preset, build
from tests.train.conftest import SMALL

TRAINING = {"data": "none", "config": {"apg": {"core": 2.0}}}


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """The tiny preset made smaller, for this test."""
    monkeypatch.setitem(PRESETS, "tiny", SMALL)
    return SMALL


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in which everything does something. Its attention attends, as that of trained
    models: fresh weights spread it evenly, and an error in it would not show."""
    torch.manual_seed(0)
    model = build(SMALL)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        for block in model.image_encoder.blocks:
            block.attn.qkv.weight[: 2 * SMALL.width] *= 3
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, model, Card.of(model, TRAINING))
    return path


@pytest.fixture(scope="session")
def bundle(checkpoint: Path) -> Path:
    """Exported with everything that a machine without a GPU can make. Not to be changed."""
    path = checkpoint.parent / "bundle"
    request = Request(
        twins=("fp16",),
        plans=("tensorrt_rtx",),
        kernels=ARCHITECTURES,
        plan_cache=path.with_name("plans"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL)
        export(checkpoint, path, request=request)
    return path


@pytest.fixture
def model(preset: Preset, checkpoint: Path) -> APSAM:
    return load_checkpoint(checkpoint)[0]


@pytest.fixture
def opened() -> Iterator[Callable[..., Runner]]:
    """Opens builds: `opened(bundle, "fp16")`; they are closed with the test."""
    runners: list[Runner] = []

    def open_runner(path: Path, name: str = "fp32") -> Runner:
        options = base.RunnerOptions(threads=1, build=name, allow_unverified=True)
        runner = base.load("onnxruntime")(open_bundle(path), options)
        runner.open()
        runners.append(runner)
        return runner

    yield open_runner
    for runner in runners:
        runner.close()


class TorchRunner:
    """A twin in PyTorch as a runner: what its graphs compute, without writing them."""

    def __init__(self, model: APSAM, precision: Precision) -> None:
        twin = typed(rewritten(model, precision), precision)
        self._graphs = {name: graph(twin, precision) for name, graph in GRAPHS.items()}
        self._held = getattr(torch, DTYPES[precision])
        self.model: ModelSpec = replace(model.preset.spec, apg_core=2.0)
        gate = Gate(passed=False, detail="a double")
        self.build = Build(form="onnx", precision=precision, graphs={}, gate=gate)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to free."""

    @torch.no_grad()
    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        batch = torch.from_numpy(images)
        query, attention = self._graphs["energy_encoder"](batch)
        return EncodedBatch(
            embedding=self._graphs["image_encoder"](batch).float().numpy(),
            energy_query=query.float().numpy(),
            attention=attention.float().numpy(),
            timings_s={},
        )

    @torch.no_grad()
    def decode(
        self,
        *,
        embedding: Held,
        energy_query: Held,
        image_index: NDArray[np.int64],
        coords: Floats,
        labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
    ) -> DecodedBatch:
        held = (torch.from_numpy(tensor).to(self._held) for tensor in (embedding, energy_query))
        prompts = (image_index, coords, labels, mask_input, has_mask_input)
        decoder = self._graphs["prompt_decoder"]
        logits, iou = decoder(*held, *(torch.from_numpy(tensor) for tensor in prompts))
        return DecodedBatch(logits=logits.float().numpy(), iou=iou.float().numpy())
