"""A CUDA device itself, and how long the kernels take on it: `make test-gpu`. That kernels answer
rightly is what the other tests here ask of them too, as [gpu]."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.errors import BackendUnavailableError, OutOfMemoryError
from apsam_serve.ops.cuda import CudaDevice, load_cuda
from apsam_serve.ops.kernels import (
    ADAPTIVE_POINTS,
    KEEP_MASKS,
    KERNELS,
    PACK_MASKS,
    Kernel,
    Value,
)
from apsam_serve.ops.memory import DeviceArray
from tests.serve.ops.launchers import GpuKernels, to_device
from tests.serve.ops.shapes import random_logits

pytestmark = pytest.mark.gpu

L, NUM_MASKS, NUM_POINTS, IMAGE = 128, 4, 3, (800, 1000)
GRIDS = {
    "best_mask": (None, 1),
    "adaptive_points": (None, 1),
    "choose_decode": (1, 1),
    "pack_masks": (IMAGE[0] * IMAGE[1] // 8 // PACK_MASKS.threads, None),
    "keep_masks": (L * L // 4 // KEEP_MASKS.threads, None),
}
"""Blocks of each kernel; None: as many as prompts."""


@pytest.fixture
def device() -> Iterator[CudaDevice]:
    try:
        cuda = load_cuda()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    made = CudaDevice(cuda)
    yield made
    made.close()
    made.close()


def _fetched(device: CudaDevice, array: DeviceArray) -> list[int]:
    found = device.pinned(array.shape, array.dtype)
    device.fetch(found, array)
    device.wait()
    return [int(value) for value in found]


def test_work_is_recorded_replayed_and_timed(device: CudaDevice) -> None:
    """With new data each time, and times that each replay notes anew."""
    host = device.pinned((1 << 20,), "int32")
    array, copied = (device.allocate(host.shape, "int32") for _ in range(2))
    calls: list[str] = []

    def work() -> None:
        calls.append("work")
        device.mark("recorded")
        device.copy(copied, array)
        device.mark("end")

    for value in range(5):
        device.mark("begin")
        host[:] = value
        device.send(array, host)
        device.replay("copy", work)
        assert _fetched(device, copied.rows(0, 2)) == [value, value]
        for begin, end in (("begin", "recorded"), ("recorded", "end")):
            assert 0 < device.elapsed_s(begin, end) < 1
    assert calls == ["work", "work"]


def test_what_cannot_be_recorded_leaves_the_stream_usable(
    device: CudaDevice, caplog: pytest.LogCaptureFixture
) -> None:
    array = device.allocate((4,), "int32")
    ones = device.pinned((4,), "int32")
    ones[:] = 1

    def work() -> None:
        device.allocate((1,), "uint8")  # forbidden while recording
        device.send(array, ones)

    with caplog.at_level(logging.WARNING, "apsam_serve.ops"):
        for _ in range(4):
            device.replay("allocates", work)
            assert _fetched(device, array) == [1] * 4
    assert len(caplog.records) == 1
    device.replay("fine", lambda: device.send(array, ones))
    device.replay("fine", lambda: device.send(array, ones))
    device.wait()


def test_too_much_memory_is_told_as_such_and_harms_nothing(device: CudaDevice) -> None:
    used = device.memory_bytes()["used"]
    with pytest.raises(OutOfMemoryError, match=r"the GPU has no memory to allocate .* are free"):
        device.allocate((device.memory_bytes()["total"] + 1,), "uint8")
    assert device.memory_bytes()["used"] <= used
    device.free(device.allocate((1 << 20,), "uint8"))
    device.wait()


def _buffers(num: int) -> dict[str, torch.Tensor]:
    """Every array of the kernels for clouds, which take Lloyd's algorithm longest."""
    rng = np.random.default_rng(0)
    clouds = np.stack([random_logits(rng, 1, L)[0] for _ in range(num)])
    side = 4 * L
    frame = (*IMAGE, round(side * IMAGE[0] / IMAGE[1]), side)
    kept = to_device(np.zeros((num, L, L), np.float32))
    planes = kept.data_ptr() + 4 * L * L * np.arange(num, dtype=np.int64)
    return {"kept": kept} | {
        name: to_device(array)
        for name, array in {
            "planes": planes,
            "first": np.zeros(num, np.int32),
            "second": np.zeros(num, np.int32),
            "chosen": np.zeros(num, np.int32),
            "logits": np.repeat(clouds[:, None], NUM_MASKS, axis=1),
            "iou": rng.random((num, NUM_MASKS)).astype(np.float32),
            "best": np.zeros(num, np.int32),
            "score": np.zeros(num, np.float32),
            "finite": np.zeros(num, np.int32),
            "valid_cells": np.full((num, 2), L, np.int32),
            "seeds": np.arange(num, dtype=np.uint64),
            "old_coords": np.zeros((num, 2, 2), np.float32),
            "old_labels": np.repeat(np.array([[1, -1]], np.float32), num, axis=0),
            "coords": np.zeros((num, NUM_POINTS, 2), np.float32),
            "labels": np.zeros((num, NUM_POINTS), np.float32),
            "branch": np.full(num, -1, np.int32),
            "frames": np.repeat(np.array([frame], np.int32), num, axis=0),
            "offsets": np.arange(num, dtype=np.int64) * (IMAGE[0] * IMAGE[1] // 8),
            "packed": np.zeros(num * IMAGE[0] * IMAGE[1] // 8, np.uint8),
        }.items()
    }


def _numbers(num: int) -> dict[str, Value]:
    config = ApgConfig()
    return {
        "num_prompts": num,
        "num_masks": NUM_MASKS,
        "side": L,
        "core": config.core,
        "tau": config.tau,
        "max_iterations": config.max_iterations,
        "fallback": 0,
        "scale_low": 1.0,
        "scale_high": 1.0,
        "num_old": 2,
        "num_points": NUM_POINTS,
        "assignment": None,
        "box": None,
        "centroids": None,
    }


@pytest.mark.parametrize("num", [1, 64])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_takes_microseconds(
    gpu_kernels: GpuKernels, kernel: Kernel, num: int, capsys: pytest.CaptureFixture[str]
) -> None:
    buffers = _buffers(num)
    every = {**_numbers(num), **{name: tensor.data_ptr() for name, tensor in buffers.items()}}
    values = {name: every[name] for name in kernel.parameters}
    across, down = (num if size is None else size for size in GRIDS[kernel.name])
    grid = across, down
    stream = torch.cuda.Stream()
    num_runs, graph = 100, torch.cuda.CUDAGraph()
    # A graph, because Python takes longer to launch a kernel than the device to run it.
    torch.cuda.synchronize()
    gpu_kernels.kernels.launch(kernel, grid, values, stream=stream.cuda_stream)
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(num_runs):
            gpu_kernels.kernels.launch(kernel, grid, values, stream=stream.cuda_stream)
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    started.record()
    graph.replay()
    ended.record()
    torch.cuda.synchronize()
    time_us = 1000 * started.elapsed_time(ended) / num_runs
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {kernel.name}, {num} prompts: {time_us:.1f} us")
    if kernel is ADAPTIVE_POINTS:
        assert (buffers["branch"].view(torch.int32) == 0).all()
    if kernel is KEEP_MASKS:
        logits = buffers["logits"].view(torch.float32).view(num, NUM_MASKS, L, L)
        assert (buffers["kept"].view(torch.float32).view(num, L, L) == logits[:, 0]).all()
    assert time_us < 1000 * num
