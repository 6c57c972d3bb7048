"""A click whose embedding never leaves the GPU, against the CPU: `make test-gpu`."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apsam_export.errors import KernelError
from apsam_export.kernels import compile_kernels
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import open_bundle, write_manifest
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Box, Point, Prompt, to_decoder
from apsam_serve.engine.compute import Question
from apsam_serve.engine.device_compute import DeviceCompute, DeviceEncoded
from apsam_serve.engine.host_compute import HostCompute, HostEncoded
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import CudaDevice, describe_gpu, load_cuda
from apsam_serve.ops.memory import Device
from apsam_serve.ops.recordings import without_recordings
from apsam_serve.prompting.base import Answer
from apsam_serve.runtime.base import DeviceRunner, RunnerOptions, load
from tests.serve.engine.device_cases import click_on, pixels_of
from tests.serve.runtime.planned import add_plans, need, need_onnxruntime

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
    if request.param == "onnxruntime":
        need_onnxruntime()
    else:
        need(request.param)
        folder = tmp_path_factory.mktemp(request.param)
        path, backend = shutil.copytree(kernel_bundle, folder / "bundle"), "tensorrt"
        build = add_plans(path, form=request.param, precision="fp32", cache=folder / "cache")
    options = RunnerOptions(device="cuda", build=build, on_device=True)
    made = load(backend)(open_bundle(path), options)
    made.open()
    yield cast(DeviceRunner, made)
    made.close()


@pytest.fixture
def host(kernel_bundle: Path) -> Iterator[HostCompute]:
    """What answers are held to."""
    made = load("onnxruntime")(open_bundle(kernel_bundle), RunnerOptions(threads=1))
    made.open()
    yield HostCompute(made, num_masks=len(PROMPTS))
    made.close()


class Counting:
    """A device, and how often it was asked for what a click does without, or does once."""

    def __init__(self, device: object) -> None:
        self.counts: Counter[str] = Counter()
        self._device = device

    def __getattr__(self, name: str) -> Any:
        if name in ("allocate", "pinned", "wait"):
            self.counts[name] += 1
        return getattr(self._device, name)


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


def _require_like(found: Sequence[Answer], wanted: Sequence[Answer], frame: LetterBox) -> None:
    for answer, want in zip(found, wanted, strict=True):
        assert answer.branch == want.branch
        np.testing.assert_allclose(answer.points, want.points, atol=1e-3)
        assert answer.labels.tolist() == want.labels.tolist()
        assert answer.score == pytest.approx(want.score, abs=1e-3)
        differ = answer.mask(frame) != want.mask(frame)
        assert differ.sum() <= 2  # pixels whose logit is next to zero


def test_a_click_on_the_gpu_is_that_of_the_cpu(
    runner: DeviceRunner, host: HostCompute, bag: NDArray[np.uint8]
) -> None:
    """Queued, recorded and replayed; then about the masks that were kept."""
    device = runner.device
    assert device is not None
    compute = DeviceCompute(runner, device, num_masks=len(PROMPTS))
    frame, _ = letterbox(bag, side=64)
    pixels = Pixels(image=frame, energy=frame)
    for seed in range(4):
        (encoded,), (expected,) = compute.encode([pixels])[0], host.encode([pixels])[0]
        assert isinstance(encoded, DeviceEncoded)
        assert isinstance(expected, HostEncoded)
        held = torch.as_tensor(encoded.slot.embedding, device="cuda").cpu().numpy()
        np.testing.assert_allclose(held, expected.embedding, atol=1e-3)
        np.testing.assert_allclose(encoded.attention, expected.attention, atol=1e-3)
        for changes in ({}, {"refine": [0, None, 2]}, {"strategy": "direct"}):
            question = _question(encoded, bag, seed, **changes)
            (found,), timings = compute.answer([question])
            (wanted,), _ = host.answer([replace(question, encoded=expected)])
            _require_like(found, wanted, question.frame)
            assert all(spent > 0 for spent in timings.values()), timings
        kept = torch.as_tensor(encoded.slot.masks, device="cuda").cpu().numpy()
        np.testing.assert_allclose(kept, expected.masks, atol=0.05, rtol=1e-4)
        compute.forget(encoded)
    compute.close()


def test_batches_that_are_padded_answer_like_the_cpu(
    runner: DeviceRunner, host: HostCompute, bag: NDArray[np.uint8]
) -> None:
    """What lies in the memory behind them, NaN among it, changes nothing: 3 images in a batch of 4,
    then 5 prompts in one of 8."""
    device = runner.device
    assert device is not None
    garbage = np.full(1 << 24, 0xFF, np.uint8)
    memory = device.allocate(garbage.shape, "uint8")
    device.send(memory, garbage)
    device.wait()
    device.free(memory)
    compute = DeviceCompute(runner, device, num_masks=len(PROMPTS))
    pictures = [np.roll(bag, 7 * shift, axis=1) for shift in range(3)]
    pixels, frames = zip(*(pixels_of(picture) for picture in pictures), strict=True)
    for _ in range(3):
        encoded, expected = compute.encode(pixels)[0], host.encode(pixels)[0]
        questions, asked = (
            [
                replace(
                    click_on(one, frame), prompts=[prompt] * num, refine=[None] * num, keep=keep
                )
                for one, frame, num in zip(held, frames, (2, 2, 1), strict=True)
                for prompt in [to_decoder(Prompt.click(58, 38), frame)]
                for keep in [list(range(num))]
            ]
            for held in (encoded, expected)
        )
        found, wanted = compute.answer(questions)[0], host.answer(asked)[0]
        for question, ours, theirs in zip(questions, found, wanted, strict=True):
            _require_like(ours, theirs, question.frame)
        for one in encoded:
            compute.forget(one)
    compute.close()


def test_a_click_allocates_nothing_and_waits_once(
    runner: DeviceRunner, bag: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    """An encode neither; how long both take is printed."""
    num, device = 50, Counting(runner.device)
    compute = DeviceCompute(runner, cast(Device, device), num_masks=1)
    pixels, frame = pixels_of(bag)
    (encoded,), _ = compute.encode([pixels])
    for _ in range(4):
        compute.forget(compute.encode([pixels])[0][0])
        compute.answer([click_on(encoded, frame)])
    used = device.memory_bytes()["used"]
    device.counts.clear()
    clicks_s, encodes_s, stages_s = [], [], Counter[str]()
    for place in range(num):
        prompt = to_decoder(Prompt.click(1 + place, 38), frame)
        question = click_on(encoded, frame, prompts=[prompt], apg=ApgConfig(seed=place))
        started = time.perf_counter()
        _, timings = compute.answer([question])
        clicks_s.append(time.perf_counter() - started)
        stages_s.update(timings)
    assert device.counts == {"wait": num}
    for _ in range(num):
        started = time.perf_counter()
        compute.forget(compute.encode([pixels])[0][0])
        encodes_s.append(time.perf_counter() - started)
    assert device.counts == {"wait": 2 * num}
    assert device.memory_bytes()["used"] <= used
    compute.close()
    stages = ", ".join(f"{stage} {spent / num * 1e6:.0f} us" for stage, spent in stages_s.items())
    with capsys.disabled():
        print(f"\n{runner.build.form}, {'one recording' if runner.replayable else 'several'}:")
        for name, spent_s in (("click", clicks_s), ("encode", encodes_s)):
            p50, p95 = np.percentile(spent_s, (50, 95)) * 1e3
            print(f"  {name} p50 {p50:.2f} ms, p95 {p95:.2f} ms")
        print(f"  of a click on the device: {stages}")


def test_clicks_stay_right_while_another_thread_allocates_and_frees(
    runner: DeviceRunner, host: HostCompute, bag: NDArray[np.uint8]
) -> None:
    """As one does that loads another model and closes it, while shapes come that are recorded."""
    device = runner.device
    assert device is not None
    compute = DeviceCompute(runner, device, num_masks=1)
    pixels, frame = pixels_of(bag)
    (encoded,), (expected,) = compute.encode([pixels])[0], host.encode([pixels])[0]
    cuda, ends, failures = load_cuda(), threading.Event(), []

    def disturb() -> None:
        other = CudaDevice(cuda)
        try:
            while not ends.is_set():
                with without_recordings():
                    array = other.allocate((1 << 20,), "uint8")
                    (done,) = cuda.cudaDeviceSynchronize()
                    assert not int(done), done.name
                    other.free(array)
                time.sleep(0.001)
        except Exception as error:
            failures.append(error)
        finally:
            other.close()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for num in (1, 2, 3, 5, 9):
            for _ in range(4):
                question = click_on(encoded, frame, refine=[None] * num, keep=[None] * num)
                question = replace(question, prompts=list(question.prompts) * num)
                (found,), _ = compute.answer([question])
                (wanted,), _ = host.answer([replace(question, encoded=expected)])
                _require_like(found, wanted, frame)
    finally:
        ends.set()
        thread.join()
    compute.close()
    assert not failures
