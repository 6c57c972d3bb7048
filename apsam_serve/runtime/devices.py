"""A back end's GPU: opened with the bundle's kernels, and its memory behind calls with arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Bundle, TensorSpec
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import CudaDevice, describe_gpu, load_cuda
from apsam_serve.ops.device import DeviceKernels
from apsam_serve.ops.memory import DeviceArray
from apsam_serve.ops.sources import kernel_file

Tensors = Mapping[str, DeviceArray]
Enqueue = Callable[[str, Tensors, Tensors], None]
Signatures = Mapping[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]
"""graph -> (inputs, outputs), see `contract.tensors.tensor_specs`."""


def open_device(bundle: Bundle, *, kernels: bool) -> CudaDevice:
    """The first GPU, with those of the bundle's kernels that fit it where they are asked for.

    Raises BackendUnavailableError without a GPU, or without kernels for it.
    """
    cuda = load_cuda()
    if not kernels:
        return CudaDevice(cuda)
    capability = describe_gpu(cuda)["compute_capability"]
    architecture = "sm_" + capability.replace(".", "")
    command = f"run apsam-export --kernels {architecture}"
    spec = bundle.manifest.kernels
    if spec is None:
        raise BackendUnavailableError(
            f"{bundle.path} has no kernels, the GPU needs those for {architecture}; {command}"
        )
    major, minor = (int(part) for part in capability.split("."))
    try:
        name = kernel_file(spec, (major, minor))
    except BackendUnavailableError as error:
        raise BackendUnavailableError(f"{bundle.path}: {error} ({command})") from error
    return CudaDevice(cuda, DeviceKernels(bundle.file(name)))


class Staging:
    """Runs graphs on host arrays through the device's memory. signatures: what they take and
    give."""

    def __init__(self, device: CudaDevice, enqueue: Enqueue, signatures: Signatures) -> None:
        self._device = device
        self._enqueue = enqueue
        self._signatures = signatures

    def run(self, graph: str, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name. Raises what `DeviceRunner.enqueue` raises, OutOfMemoryError or
        DeviceFaultError."""
        takes, gives = self._signatures[graph]
        arrays = {t.name: np.ascontiguousarray(feeds[t.name], t.dtype) for t in takes}
        sizes = {
            axis: size
            for tensor in takes
            for axis, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True)
        }
        answers = {t.name: np.empty([sizes.get(n, n) for n in t.shape], t.dtype) for t in gives}
        rooms = {
            name: self._device.room(f"{graph}/{name}", array.shape, array.dtype.name)
            for name, array in (arrays | answers).items()
        }
        try:
            for name, array in arrays.items():
                self._device.send(rooms[name], array)
            self._enqueue(graph, rooms, {name: rooms[name] for name in answers})
            for name, answer in answers.items():
                self._device.fetch(answer, rooms[name])
        finally:  # also after a failure: copies from arrays that are about to go may be queued
            self._device.wait()
        return answers
