"""How long the kernels take on a CUDA device: `make test-gpu` with -s. That they answer rightly is
what the other tests here ask of them too, as [gpu]."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.ops.kernels import ADAPTIVE_POINTS, BEST_MASK, PACK_MASKS, Kernel, Value
from tests.serve.ops.launchers import GpuKernels, to_device
from tests.serve.ops.shapes import random_logits

pytestmark = pytest.mark.gpu

L, NUM_MASKS, NUM_POINTS, IMAGE = 128, 4, 3, (800, 1000)


def _buffers(num: int) -> dict[str, torch.Tensor]:
    """Every array of the three kernels for clouds, which take Lloyd's algorithm longest."""
    rng = np.random.default_rng(0)
    clouds = np.stack([random_logits(rng, 1, L)[0] for _ in range(num)])
    side = 4 * L
    frame = (*IMAGE, round(side * IMAGE[0] / IMAGE[1]), side)
    return {
        name: to_device(array)
        for name, array in {
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


def _numbers() -> dict[str, Value]:
    config = ApgConfig()
    return {
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
@pytest.mark.parametrize("kernel", [BEST_MASK, ADAPTIVE_POINTS, PACK_MASKS], ids=lambda k: k.name)
def test_a_kernel_takes_microseconds(gpu_kernels: GpuKernels, kernel: Kernel, num: int) -> None:
    buffers = _buffers(num)
    every = {**_numbers(), **{name: tensor.data_ptr() for name, tensor in buffers.items()}}
    values = {name: every[name] for name in kernel.parameters}
    grid = (IMAGE[0] * IMAGE[1] // 8 // kernel.threads, num) if kernel is PACK_MASKS else (num, 1)
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
    print(f"\n{torch.cuda.get_device_name()}: {kernel.name}, {num} prompts: {time_us:.1f} us")
    if kernel is ADAPTIVE_POINTS:
        assert (buffers["branch"].view(torch.int32) == 0).all()
    assert time_us < 1000 * num
