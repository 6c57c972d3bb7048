"""The GPU through `cuda.bindings`, imported late: its memory and one stream."""

from __future__ import annotations

import ctypes
import importlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.errors import BackendUnavailableError, DeviceFaultError, OutOfMemoryError
from apsam_serve.ops.kernels import Kernel, Value
from apsam_serve.ops.memory import DeviceArray
from apsam_serve.ops.recordings import Recordings

if TYPE_CHECKING:
    from apsam_serve.ops.device import DeviceKernels

_RETRY_AFTER_S = 1.0


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


class CudaDevice:
    """Implements `ops.memory.Device` on the first GPU: one stream of its own, which no other stream
    waits for. Touches the GPU at once. kernels: not open yet; None where nothing is launched.

    Raises BackendUnavailableError where the GPU or the kernels cannot be used.
    """

    def __init__(self, cuda: Any, kernels: DeviceKernels | None = None) -> None:
        self._cuda = cuda
        self._kinds = cuda.cudaMemcpyKind
        self._kernels = kernels
        self._memory: set[int] = set()
        self._pinned: list[int] = []
        self._rooms: dict[str, DeviceArray] = {}
        self._events: dict[str, Any] = {}
        self._thread = 0
        self._stream: Any = None
        done(cuda.cudaSetDevice(0))
        # Not the default kind of stream: another thread's work on the legacy stream, which a
        # library may use while it loads a model, would spoil a recording.
        self._stream = done(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._recordings = Recordings(cuda, self._stream, self._check)
        try:
            if kernels is not None:
                kernels.open()
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> int:
        return int(self._stream)

    def make_current(self) -> None:
        """Make the GPU's context current on this thread, if another thread used it last. Everything
        here does so first; libraries that queue on `stream` by themselves may need it too."""
        thread = threading.get_ident()
        if thread != self._thread:
            self._check(self._cuda.cudaSetDevice(0), "be used by this thread")
            self._thread = thread

    def allocate(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        self.make_current()
        num_bytes = DeviceArray(address=0, shape=shape, dtype=dtype).num_bytes
        what = f"allocate {num_bytes} bytes for {dtype} {list(shape)}"
        address = int(self._check(self._cuda.cudaMalloc(num_bytes), what))
        self._memory.add(address)
        return DeviceArray(address=address, shape=shape, dtype=dtype, stream=self.stream)

    def free(self, array: DeviceArray) -> None:
        self.make_current()
        self._memory.remove(array.address)
        # The code is not read: it may be an earlier fault's, which the next `wait` tells.
        self._cuda.cudaFree(array.address)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        self.make_current()
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        what = f"page-lock {num_bytes} bytes for {dtype} {list(shape)}"
        flags = self._cuda.cudaHostAllocDefault
        address = int(self._check(self._cuda.cudaHostAlloc(num_bytes, flags), what))
        self._pinned.append(address)
        memory = (ctypes.c_char * num_bytes).from_address(address)
        return np.ndarray(shape, np.dtype(dtype), buffer=memoryview(memory))

    def room(self, name: str, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Memory by that name for an array. It is kept for the next call, which is not slowed down
        by an allocation unless it is the largest so far."""
        wanted = DeviceArray(address=0, shape=shape, dtype=dtype, stream=self.stream)
        held = self._rooms.get(name)
        if held is None or held.num_bytes < wanted.num_bytes:
            if held is not None:
                self.wait()
                del self._rooms[name]
                self.free(held)
            held = self._rooms[name] = self.allocate((wanted.num_bytes,), "uint8")
        return replace(wanted, address=held.address)

    def send(self, to: DeviceArray, source: NDArray[Any]) -> None:
        assert source.flags.c_contiguous
        assert source.nbytes == to.num_bytes, (source.shape, to.shape)
        self._copy(to.address, source.ctypes.data, to.num_bytes, self._kinds.cudaMemcpyHostToDevice)

    def fetch(self, to: NDArray[Any], source: DeviceArray) -> None:
        assert to.flags.c_contiguous
        assert to.nbytes == source.num_bytes, (to.shape, source.shape)
        kind = self._kinds.cudaMemcpyDeviceToHost
        self._copy(to.ctypes.data, source.address, source.num_bytes, kind)

    def copy(self, to: DeviceArray, source: DeviceArray) -> None:
        assert to.num_bytes == source.num_bytes, (to.shape, source.shape)
        kind = self._kinds.cudaMemcpyDeviceToDevice
        self._copy(to.address, source.address, to.num_bytes, kind)

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value]) -> None:
        assert self._kernels is not None, "this device was made without kernels"
        self.make_current()
        self._kernels.launch(kernel, grid, values, stream=self.stream)

    def replay(self, key: object, work: Callable[[], None]) -> None:
        self.make_current()
        self._recordings.replay(key, work)

    def mark(self, name: str) -> None:
        self.make_current()
        if name not in self._events:
            self._events[name] = self._check(self._cuda.cudaEventCreate(), "make an event")
        # External: the graph notes the time anew whenever it is replayed.
        cuda, event = self._cuda, self._events[name]
        recording = self._recordings.recording
        flags = cuda.cudaEventRecordExternal if recording else cuda.cudaEventRecordDefault
        self._check(cuda.cudaEventRecordWithFlags(event, self._stream, flags), "note the time")

    def elapsed_s(self, begin: str, end: str) -> float:
        self.make_current()
        passed = self._cuda.cudaEventElapsedTime(self._events[begin], self._events[end])
        return float(self._check(passed, f"tell the time from {begin} to {end}")) / 1000

    def wait(self) -> None:
        self.make_current()
        self._check(self._cuda.cudaStreamSynchronize(self._stream), "finish what was queued")

    def memory_bytes(self) -> dict[str, int]:
        # `make_current` would tell the thread that uses the device that it has lost it.
        self._check(self._cuda.cudaSetDevice(0), "be used by this thread")
        free, total = self._check_all(self._cuda.cudaMemGetInfo(), "tell its memory")
        return {"used": total - free, "total": total}

    def close(self) -> None:
        if self._stream is None:
            return
        cuda, stream = self._cuda, self._stream
        cuda.cudaSetDevice(0)
        # After a fault every call fails, and there is nothing left to free: codes are not read.
        cuda.cudaStreamSynchronize(stream)
        self._recordings.close()
        for event in self._events.values():
            cuda.cudaEventDestroy(event)
        if self._kernels is not None:
            self._kernels.close()
        for address in self._memory:
            cuda.cudaFree(address)
        for address in self._pinned:
            cuda.cudaFreeHost(address)
        cuda.cudaStreamDestroy(stream)
        for held in (self._events, self._memory, self._pinned, self._rooms):
            held.clear()
        self._stream = None

    def _copy(self, to: int, source: int, num_bytes: int, kind: Any) -> None:
        self.make_current()
        copied = self._cuda.cudaMemcpyAsync(to, source, num_bytes, kind, self._stream)
        self._check(copied, f"copy {num_bytes} bytes")

    def _check(self, result: tuple[Any, ...], what: str) -> Any:
        """What a CUDA call returned beside its code. Raises OutOfMemoryError or
        DeviceFaultError."""
        values = self._check_all(result, what)
        return values[0] if values else None

    def _check_all(self, result: tuple[Any, ...], what: str) -> list[Any]:
        code, *values = result
        if not int(code):
            return values
        if code.name == "cudaErrorMemoryAllocation":
            raise OutOfMemoryError(
                f"the GPU has no memory to {what} ({self._room_left()}); retry, lower "
                "--budget-bytes, or serve a smaller model",
                retry_after_s=_RETRY_AFTER_S,
            )
        raise DeviceFaultError(
            f"CUDA answered {code.name} when asked to {what}; look at nvidia-smi and the system's "
            "log for faults of the GPU, and start the service again"
        )

    def _room_left(self) -> str:
        code, *sizes = self._cuda.cudaMemGetInfo()
        return "unknown" if int(code) else "{} of {} bytes are free".format(*sizes)
