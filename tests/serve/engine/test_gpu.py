"""A click whose embedding never leaves the GPU, against the CPU: `make test-gpu`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apsam_export.errors import KernelError
from apsam_export.kernels import compile_kernels
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import open_bundle, write_manifest
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.contract.prompts import Box, Point, Prompt, to_decoder
from apsam_serve.engine.compute import Question
from apsam_serve.engine.device_compute import DeviceCompute, DeviceEncoded
from apsam_serve.engine.host_compute import HostCompute, HostEncoded
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.runtime.base import DeviceRunner, RunnerOptions, load
from tests.serve.runtime.planned import add_plans, need

pytestmark = pytest.mark.gpu

PROMPTS = (
    Prompt.click(58, 38),
    Prompt(points=(Point(x=20, y=20), Point(x=58, y=38, positive=False))),
    Prompt(box=Box(left=0, top=0, right=50, bottom=50)),  # the tiny model answers nothing
)


@pytest.fixture(scope="module")
def kernel_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with kernels for this machine's GPU; skips where there is none."""
    try:
        capability = describe_gpu(load_cuda())["compute_capability"]
        path = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("kernels") / "bundle")
        spec = compile_kernels(path, ["sm_" + capability.replace(".", "")])
    except (BackendUnavailableError, KernelError) as error:
        pytest.skip(str(error))
    manifest = open_bundle(tiny_bundle).manifest
    write_manifest(path, replace(manifest, kernels=spec, files={}))
    return path


@pytest.fixture(scope="module", params=["onnxruntime", "tensorrt", "tensorrt_rtx"])
def runner(
    request: pytest.FixtureRequest, kernel_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeviceRunner]:
    path, build, backend = kernel_bundle, "fp32", "onnxruntime"
    if request.param != "onnxruntime":
        need(request.param)
        folder = tmp_path_factory.mktemp(request.param)
        path, backend = shutil.copytree(kernel_bundle, folder / "bundle"), "tensorrt"
        build = add_plans(path, form=request.param, precision="fp32", cache=folder / "cache")
    options = RunnerOptions(device="cuda", build=build, on_device=True)
    made = load(backend)(open_bundle(path), options)
    try:
        made.open()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    yield cast(DeviceRunner, made)
    made.close()


def _question(encoded: object, image: NDArray[np.uint8], seed: int, **changes: object) -> Question:
    _, frame = letterbox(image, side=64)
    prompts = [to_decoder(prompt, frame) for prompt in PROMPTS]
    asked = Question(
        encoded=cast(DeviceEncoded, encoded),
        frame=frame,
        prompts=prompts,
        refine=[None] * len(prompts),
        keep=list(range(len(prompts))),
        apg=ApgConfig(seed=seed),
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


def test_a_click_on_the_gpu_is_that_of_the_cpu(
    runner: DeviceRunner, kernel_bundle: Path, bag: NDArray[np.uint8]
) -> None:
    """Queued, recorded and replayed; then about the masks that were kept."""
    device = runner.device
    assert device is not None
    compute = DeviceCompute(runner, device, num_masks=len(PROMPTS))
    host = load("onnxruntime")(open_bundle(kernel_bundle), RunnerOptions(threads=1))
    host.open()
    reference = HostCompute(host, num_masks=len(PROMPTS))
    frame, _ = letterbox(bag, side=64)
    pixels = Pixels(image=frame, energy=frame)
    for seed in range(4):
        (encoded,), (expected,) = compute.encode([pixels]), reference.encode([pixels])
        assert isinstance(encoded, DeviceEncoded)
        assert isinstance(expected, HostEncoded)
        held = torch.as_tensor(encoded.slot.embedding, device="cuda").cpu().numpy()
        np.testing.assert_allclose(held, expected.embedding, atol=1e-3)
        np.testing.assert_allclose(encoded.attention, expected.attention, atol=1e-3)
        for changes in ({}, {"refine": [0, None, 2]}, {"strategy": "direct"}):
            question = _question(encoded, bag, seed, **changes)
            (found,), timings = compute.answer([question])
            (wanted,), _ = reference.answer([replace(question, encoded=expected)])
            for answer, want in zip(found, wanted, strict=True):
                assert answer.branch == want.branch
                np.testing.assert_allclose(answer.points, want.points, atol=1e-3)
                assert answer.labels.tolist() == want.labels.tolist()
                assert answer.score == pytest.approx(want.score, abs=1e-3)
                differ = answer.mask(question.frame) != want.mask(question.frame)
                assert differ.sum() <= 2  # pixels whose logit is next to zero
            assert all(spent > 0 for spent in timings.values()), timings
        kept = torch.as_tensor(encoded.slot.masks, device="cuda").cpu().numpy()
        np.testing.assert_allclose(kept, expected.masks, atol=0.05, rtol=1e-4)
        compute.forget(encoded)
    compute.close()
    host.close()
