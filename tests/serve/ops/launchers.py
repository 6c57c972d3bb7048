"""One way to launch a kernel on NumPy arrays, wherever it runs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_serve.ops.device import DeviceKernels
from apsam_serve.ops.kernels import Kernel, Value

Array = NDArray[np.generic]
Values = Mapping[str, Array | Value]


class Launcher(Protocol):
    def with_threads(self, threads: int | None) -> Launcher:
        """The same with blocks of that many threads, None for the launcher's own number."""

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Values) -> None:
        """Run a kernel; arrays hold what it wrote afterwards."""


@dataclass(frozen=True)
class HostKernels:
    """The host build; one thread is quickest."""

    library: ctypes.CDLL
    threads: int = 1

    def with_threads(self, threads: int | None) -> HostKernels:
        return replace(self, threads=threads or 1)

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Values) -> None:
        plain = {k: v.ctypes.data if isinstance(v, np.ndarray) else v for k, v in values.items()}
        assert all(v.flags.c_contiguous for v in values.values() if isinstance(v, np.ndarray))
        arguments = kernel.arguments(plain)
        done = self.library.launch(kernel.name.encode(), *grid, self.threads, arguments.addresses)
        assert done == 0, kernel.name


@dataclass(frozen=True)
class GpuKernels:
    """The device's; every kernel has its own number of threads unless one is given."""

    kernels: DeviceKernels
    threads: int | None = None

    def with_threads(self, threads: int | None) -> GpuKernels:
        return replace(self, threads=threads)

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Values) -> None:
        held = {k: to_device(v) for k, v in values.items() if isinstance(v, np.ndarray)}
        plain = {k: held[k].data_ptr() if k in held else v for k, v in values.items()}
        kernel = replace(kernel, threads=self.threads or kernel.threads)
        self.kernels.launch(kernel, grid, plain, stream=torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()
        for name, tensor in held.items():
            values[name].reshape(-1).view(np.uint8)[:] = tensor.cpu().numpy()


def to_device(array: Array) -> torch.Tensor:
    """The bytes of an array on the GPU."""
    assert array.flags.c_contiguous
    return torch.from_numpy(array.reshape(-1).view(np.uint8)).cuda()
