"""The kernels on an NVIDIA GPU, through the CUDA driver.

Nothing is imported or touched before `open`. The caller owns device, memory and stream: the thread
that opens and launches has the device's context current, as CUDA's runtime and TensorRT leave it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apsam_serve.errors import BackendUnavailableError, DeviceFaultError
from apsam_serve.ops.cuda import load_cuda
from apsam_serve.ops.kernels import KERNELS, Kernel, Value


class DeviceKernels:
    """The kernels of one compiled file, see `ops.sources.kernel_file`."""

    def __init__(self, cubin: Path) -> None:
        self._cubin = cubin
        self._driver: Any = None
        self._module: Any = None
        self._functions: dict[str, Any] = {}

    def open(self) -> None:
        """Load the file on the current device.

        Raises BackendUnavailableError without the library, a device, a context, or a fitting file.
        """
        self._driver = _driver()
        _require_context(self._driver)
        try:
            self._module = _checked(
                self._driver,
                self._driver.cuModuleLoadData(self._cubin.read_bytes()),
                f"{self._cubin} cannot be loaded; choose the file of this device's architecture",
            )
            for kernel in KERNELS:
                self._functions[kernel.name] = _checked(
                    self._driver,
                    self._driver.cuModuleGetFunction(self._module, kernel.name.encode()),
                    f"{self._cubin} has no kernel {kernel.name!r}; export the bundle again",
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unload the file; nothing of it may be running. Again is harmless."""
        module, self._module = self._module, None
        self._functions.clear()
        if module is not None:
            self._driver.cuModuleUnload(module)

    def launch(
        self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value], *, stream: int
    ) -> None:
        """Queue a kernel on a stream (its handle) and return. Addresses are device memory that
        stays as it is until the kernel is done.

        Raises DeviceFaultError when the driver refuses.
        """
        arguments = kernel.arguments(values)
        (status,) = self._driver.cuLaunchKernel(
            self._functions[kernel.name],
            *(*grid, 1),
            *(kernel.threads, 1, 1),
            0,
            stream,
            arguments.address,
            0,
        )
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise DeviceFaultError(
                f"{status.name}: {kernel.name} on a grid of {grid[0]} x {grid[1]} was not started; "
                "look for an earlier fault of the device"
            )


def compute_capability() -> tuple[int, int]:
    """(major, minor) of the current device, (9, 0) for an H100.

    Raises BackendUnavailableError without the library, a device or a current context.
    """
    driver = _driver()
    _require_context(driver)
    what = "the device cannot be asked for its compute capability; look at nvidia-smi"
    device = _checked(driver, driver.cuCtxGetDevice(), what)
    attributes = driver.CUdevice_attribute
    major, minor = (
        int(_checked(driver, driver.cuDeviceGetAttribute(attribute, device), what))
        for attribute in (
            attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return major, minor


def _driver() -> Any:
    """`cuda.bindings.driver` on a machine with a device."""
    load_cuda()
    driver: Any = importlib.import_module("cuda.bindings.driver")
    started = driver.cuInit(0)
    _checked(driver, started, "the CUDA driver does not start; look at nvidia-smi")
    return driver


def _require_context(driver: Any) -> None:
    context = _checked(driver, driver.cuCtxGetCurrent(), "the thread cannot be asked for a context")
    if int(context) == 0:
        raise BackendUnavailableError(
            "this thread has no current CUDA context; open the device on it before the kernels"
        )


def _checked(driver: Any, answer: tuple[Any, ...], what: str) -> Any:
    """The driver's answer without its status. Raises BackendUnavailableError naming the status."""
    status, *values = answer
    if status != driver.CUresult.CUDA_SUCCESS:
        raise BackendUnavailableError(f"{status.name}: {what}")
    return values[0] if values else None
