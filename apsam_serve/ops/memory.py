"""A device's memory and its one queue of work, as the engine's device path sees them.

Everything is queued in order and nothing waits, except `wait`. `ops.cuda` has the GPU's; the tests
have one over plain host memory, with the kernels' host build.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.ops.kernels import Kernel, Value

_ALIGNMENT = 256
"""Bytes; what cudaMalloc gives, and TensorRT expects of every tensor."""


@dataclass(frozen=True, kw_only=True)
class DeviceArray:
    """A contiguous array in a device's memory. dtype: NumPy's name of it."""

    address: int
    shape: tuple[int, ...]
    dtype: str
    stream: int = 0

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def rows(self, begin: int, end: int) -> DeviceArray:
        """The part [begin, end) of its first axis."""
        row = self.shape[1:]
        address = self.address + begin * math.prod(row) * np.dtype(self.dtype).itemsize
        return DeviceArray(
            address=address, shape=(end - begin, *row), dtype=self.dtype, stream=self.stream
        )

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """Version 3, so that CuPy, torch, numba and pycuda can look at it without a copy."""
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
            "stream": self.stream or 1,
        }


Fields = Mapping[str, tuple[tuple[int, ...], str]]
"""name -> (shape, dtype) of arrays that lie one after another."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where fields lie in one piece of memory. offsets: bytes by name."""

    fields: Fields
    offsets: Mapping[str, int]
    num_bytes: int

    @classmethod
    def of(cls, fields: Fields) -> Layout:
        """One after another, each aligned."""
        offsets, end = {}, 0
        for name, (shape, dtype) in fields.items():
            offsets[name] = end
            size = DeviceArray(address=0, shape=shape, dtype=dtype).num_bytes
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        return cls(fields=fields, offsets=offsets, num_bytes=end)

    def array(self, name: str, memory: DeviceArray, base: int = 0) -> DeviceArray:
        """A field in memory that begins `base` bytes into an allocation."""
        shape, dtype = self.fields[name]
        address = memory.address + base + self.offsets[name]
        return DeviceArray(address=address, shape=shape, dtype=dtype, stream=memory.stream)


class Device(Protocol):
    """One device. One thread at a time uses it."""

    @property
    def stream(self) -> int:
        """Handle of the queue."""
        ...

    def allocate(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Memory until `free` or `close`. Raises OutOfMemoryError."""
        ...

    def free(self, array: DeviceArray) -> None:
        """Give memory back; nothing that is queued may use it."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A host array in page-locked memory, until `close`."""
        ...

    def send(self, to: DeviceArray, source: NDArray[Any]) -> None:
        """Queue a copy to the device; `source` stays as it is until `wait`."""
        ...

    def fetch(self, to: NDArray[Any], source: DeviceArray) -> None:
        """Queue a copy to the host; `to` is valid after `wait`."""
        ...

    def copy(self, to: DeviceArray, source: DeviceArray) -> None:
        """Queue a copy within the device, of as many bytes as both have."""
        ...

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value]) -> None:
        """Queue a kernel."""
        ...

    def replay(self, key: object, work: Callable[[], None]) -> None:
        """Queue `work`, which only queues on this device: recorded once as a graph under `key` and
        replayed from then on where the device can, called again otherwise. The same key must mean
        the same work on the same addresses."""
        ...

    def mark(self, name: str) -> None:
        """Queue a note of the time; the last one of that name counts."""
        ...

    def elapsed_s(self, begin: str, end: str) -> float:
        """Device seconds from one mark to another, both of which `wait` has waited for."""
        ...

    def wait(self) -> None:
        """Return when everything queued is done. Raises OutOfMemoryError or DeviceFaultError."""
        ...

    def memory_bytes(self) -> dict[str, int]:
        """Bytes of the device: used (by everybody) and total. Any thread may ask. Raises
        DeviceFaultError."""
        ...

    def close(self) -> None:
        """Free everything; harmless when closed already."""
        ...
