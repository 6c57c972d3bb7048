"""Graphs and plans on a real GPU, against ONNX Runtime on the CPU: `make test-gpu`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import open_bundle
from apsam_serve.contract.prompts import MAX_DECODER_POINTS, MAX_PROMPTS
from apsam_serve.ops.cuda import load_cuda
from apsam_serve.runtime.base import DecodedBatch, DeviceRunner, Runner, RunnerOptions, load
from tests.serve.runtime.host_device import Call, answers_of, as_arguments, prompts
from tests.serve.runtime.planned import add_kernels, add_plans, need, need_onnxruntime

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def planned_bundle(
    request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny bundle with a build that was compiled here; skips where that cannot be."""
    form: PlanForm = request.param
    need(form)
    folder = tmp_path_factory.mktemp(form)
    path = shutil.copytree(tiny_bundle, folder / "bundle")
    add_plans(path, form=form, precision="fp32", cache=folder / "cache")
    add_kernels(path)
    return path


@pytest.fixture
def runner(planned_bundle: Path) -> Iterator[Runner]:
    made = load("tensorrt")(open_bundle(planned_bundle), RunnerOptions(device="cuda"))
    made.open()
    yield made
    made.close()


@pytest.fixture
def resident(planned_bundle: Path) -> Iterator[DeviceRunner]:
    options = RunnerOptions(device="cuda", on_device=True)
    made = cast(DeviceRunner, load("tensorrt")(open_bundle(planned_bundle), options))
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def graph_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with kernels for this machine's GPU."""
    need_onnxruntime()
    path = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("graphs") / "bundle")
    add_kernels(path)
    return path


@pytest.fixture
def recorded(graph_bundle: Path) -> Iterator[DeviceRunner]:
    """ONNX Runtime on the GPU, which records by itself."""
    options = RunnerOptions(device="cuda", on_device=True)
    made = cast(DeviceRunner, load("onnxruntime")(open_bundle(graph_bundle), options))
    made.open()
    yield made
    made.close()


@pytest.fixture
def reference(tiny_bundle: Path) -> Iterator[Runner]:
    made = load("onnxruntime")(open_bundle(tiny_bundle), RunnerOptions(threads=1))
    made.open()
    yield made
    made.close()


def decode(runner: Runner, images: int, prompts: int, points: int) -> DecodedBatch:
    rng = np.random.default_rng(0)
    model = runner.model
    return runner.decode(
        embedding=rng.normal(size=(images, model.embed_dim, model.grid, model.grid)).astype("f4"),
        energy_query=rng.normal(size=(images, model.embed_dim)).astype("f4"),
        image_index=np.arange(prompts) % images,
        coords=rng.uniform(0, model.side, (prompts, points, 2)).astype("f4"),
        labels=np.ones((prompts, points), np.float32),
        mask_input=rng.normal(size=(prompts, 1, model.mask_side, model.mask_side)).astype("f4"),
        has_mask_input=(np.arange(prompts) % 2).astype("f4"),
    )


@pytest.mark.parametrize("num_images", [1, 2, 3, 8, 16])
def test_plans_encode_like_the_graphs(runner: Runner, reference: Runner, num_images: int) -> None:
    side = runner.model.side
    images = np.random.default_rng(0).integers(0, 256, (num_images, side, side, 3), np.uint8)
    found, expected = runner.encode(images), reference.encode(images)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-3)
    np.testing.assert_allclose(found.energy_query, expected.energy_query, atol=1e-3)
    np.testing.assert_allclose(found.attention, expected.attention, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "prompts", "points"),
    [(1, 1, 2), (1, 1, 3), (1, 7, 3), (4, 16, 3), (MAX_PROMPTS, MAX_PROMPTS, MAX_DECODER_POINTS)],
)
def test_plans_decode_like_the_graphs(
    runner: Runner, reference: Runner, images: int, prompts: int, points: int
) -> None:
    found, expected = (decode(one, images, prompts, points) for one in (runner, reference))
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.05, rtol=1e-4)
    np.testing.assert_allclose(found.iou, expected.iou, atol=1e-3)


def test_profiles_can_be_changed_back_and_forth(runner: Runner) -> None:
    first = decode(runner, 1, 1, 2)
    decode(runner, 4, 16, 3)
    np.testing.assert_allclose(decode(runner, 1, 1, 2).logits, first.logits, atol=1e-2, rtol=1e-5)


def test_what_is_recorded_answers_like_what_is_not(
    resident: DeviceRunner, reference: Runner
) -> None:
    gpu, model = resident.device, resident.model
    assert gpu is not None
    calls = {
        num: Call(gpu, "prompt_decoder", prompts(model, images=4, num=num), answers_of(model, num))
        for num in (4, 16, 8)
    }
    for seed in range(4):  # runs, is recorded where it can be, and is replayed twice
        for num, call in calls.items():
            inputs = prompts(model, images=4, num=num, seed=seed)
            work = partial(resident.enqueue, "prompt_decoder", call.inputs, call.outputs)
            call.send(inputs)
            if resident.replayable:
                gpu.replay(num, work)
            else:
                work()
            found = call.fetch()
            gpu.wait()
            expected = reference.decode(**as_arguments(inputs))
            np.testing.assert_allclose(
                found["low_res_logits"], expected.logits, atol=0.05, rtol=1e-4
            )


def test_plans_of_rtx_leave_their_kernels_for_the_next_start(
    planned_bundle: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(planned_bundle)
    for _ in range(2):
        made = load("tensorrt")(bundle, RunnerOptions(device="cuda", cache=tmp_path))
        made.open()
        decode(made, 1, 1, 2)
        rtx = made.build.form == "tensorrt_rtx"
        made.close()
        assert len(list(tmp_path.iterdir())) == (3 if rtx else 0)


def test_onnxruntime_on_a_gpu_answers_like_on_a_cpu(
    recorded: DeviceRunner, reference: Runner
) -> None:
    """Recorded or not, and on arrays of the host between."""
    gpu, model = recorded.device, recorded.model
    assert gpu is not None
    calls = {
        num: Call(gpu, "prompt_decoder", prompts(model, images=2, num=num), answers_of(model, num))
        for num in (4, 1, 8)
    }
    for seed in range(4):
        for num, call in calls.items():
            inputs = prompts(model, images=2, num=num, seed=seed)
            found = call.run(recorded.enqueue, inputs)
            gpu.wait()
            expected = reference.decode(**as_arguments(inputs)).logits
            np.testing.assert_allclose(found["low_res_logits"], expected, atol=0.05, rtol=1e-4)
            alone = recorded.decode(**as_arguments(inputs)).logits
            np.testing.assert_allclose(alone, expected, atol=0.05, rtol=1e-4)


def test_onnxruntime_queues_what_it_has_recorded_without_waiting(recorded: DeviceRunner) -> None:
    _require_no_wait(recorded)


def test_plans_are_queued_without_waiting(resident: DeviceRunner) -> None:
    _require_no_wait(resident)


def _require_no_wait(runner: DeviceRunner) -> None:
    """Queue behind copies that take some ten milliseconds: a wait for the device, hidden in a
    library, would be over only after them."""
    gpu, model, cuda = runner.device, runner.model, load_cuda()
    assert gpu is not None
    inputs = prompts(model, images=2, num=4)
    call = Call(gpu, "prompt_decoder", inputs, answers_of(model, 4))
    work = partial(runner.enqueue, "prompt_decoder", call.inputs, call.outputs)
    source, target = (gpu.allocate((1 << 28,), "uint8") for _ in range(2))
    for _ in range(4):
        call.send(inputs)
        gpu.wait()
        for _ in range(200):
            gpu.copy(target, source)
        if runner.replayable:
            gpu.replay("decode", work)
        else:
            work()
        (busy,) = cuda.cudaStreamQuery(gpu.stream)
        gpu.wait()
    assert busy.name == "cudaErrorNotReady", busy.name
