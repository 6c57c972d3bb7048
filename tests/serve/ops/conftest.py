"""The kernels as every test here takes them: on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from apsam_export.errors import KernelError
from apsam_export.kernels import check, compile_kernels
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import load_cuda
from apsam_serve.ops.device import DeviceKernels, compute_capability
from apsam_serve.ops.sources import kernel_file
from tests.serve.ops.host_build import load_host
from tests.serve.ops.launchers import GpuKernels, HostKernels, Launcher


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    return HostKernels(load_host(tmp_path_factory.mktemp("host")))


@pytest.fixture(scope="session")
def gpu_kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuKernels]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    torch.zeros(1).cuda()  # makes the device's context current
    try:
        load_cuda()
        check([])
    except (BackendUnavailableError, KernelError) as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("gpu")
    major, minor = compute_capability()
    spec = compile_kernels(folder, [f"sm_{major}{minor}"])
    kernels = DeviceKernels(folder / kernel_file(spec, (major, minor)))
    kernels.open()
    yield GpuKernels(kernels)
    kernels.close()


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def kernels(request: pytest.FixtureRequest) -> Launcher:
    """The same tests, on both."""
    launcher: Launcher = request.getfixturevalue(f"{request.param}_kernels")
    return launcher
