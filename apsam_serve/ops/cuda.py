"""The GPU through `cuda.bindings`, imported late: one stream, and memory that only grows."""

from __future__ import annotations

import importlib
from typing import Any

from numpy.typing import NDArray

from apsam_serve.errors import BackendUnavailableError


def load_cuda() -> Any:
    """`cuda.bindings.runtime` on a machine with a device. Raises BackendUnavailableError."""
    try:
        cuda = importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"cuda.bindings is not installed here ({error}); run pip install cuda-bindings"
        ) from error
    code, num_devices = cuda.cudaGetDeviceCount()
    if int(code) or not num_devices:
        raise BackendUnavailableError(
            f"there is no CUDA device on this machine ({code.name}); install NVIDIA's driver, or "
            "a newer one, until nvidia-smi lists a GPU"
        )
    return cuda


def describe_gpu(cuda: Any) -> dict[str, str]:
    """Name and compute capability ("9.0") of the first device."""
    found = done(cuda.cudaGetDeviceProperties(0))
    return {"gpu": found.name.decode(), "compute_capability": f"{found.major}.{found.minor}"}


def done(result: tuple[Any, ...]) -> Any:
    """What a CUDA call returned beside its code. Raises BackendUnavailableError for a failure."""
    code, *values = result
    if int(code):
        raise BackendUnavailableError(
            f"CUDA answered {code.name}; look at nvidia-smi for memory and faults of the GPU"
        )
    return values[0] if values else None


class Stream:
    """One stream of the first device, and device memory by name that its copies go to."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._kinds = cuda.cudaMemcpyKind
        self._memory: dict[str, tuple[int, int]] = {}
        self._stream = done(cuda.cudaStreamCreate())
        self.handle = int(self._stream)

    def room(self, name: str, num_bytes: int) -> int:
        """Address of at least that much memory. It is kept for the next call, which is not slowed
        down by an allocation unless it is the largest so far."""
        address, size = self._memory.get(name, (0, 0))
        if size < num_bytes:
            if address:
                self.wait()
                del self._memory[name]
                done(self._cuda.cudaFree(address))
            address = int(done(self._cuda.cudaMalloc(num_bytes)))
            self._memory[name] = address, num_bytes
        return address

    def send(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device; it must live, and stay as it is, until `wait`."""
        self._copy(address, array.ctypes.data, array.nbytes, self._kinds.cudaMemcpyHostToDevice)

    def fetch(self, address: int, array: NDArray[Any]) -> None:
        """Fill a contiguous array from the device; it is valid after `wait`."""
        self._copy(array.ctypes.data, address, array.nbytes, self._kinds.cudaMemcpyDeviceToHost)

    def wait(self) -> None:
        """Return when the device has done everything."""
        done(self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Free everything; the stream cannot be used again."""
        for address, _ in self._memory.values():
            self._cuda.cudaFree(address)
        self._memory.clear()
        self._cuda.cudaStreamDestroy(self._stream)

    def _copy(self, to: int, source: int, num_bytes: int, kind: Any) -> None:
        done(self._cuda.cudaMemcpyAsync(to, source, num_bytes, kind, self._stream))
