"""A double of the functions of `cuda.bindings.runtime` that a device is made of: memory lies on the
host, and the stream does its work when it is waited for."""

# ruff: noqa: N802, N815 - the names are CUDA's
from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace

from apsam_serve.ops.kernels import Kernel, Value

Code = IntEnum(
    "Code",
    [
        "cudaSuccess",
        "cudaErrorInvalidValue",
        "cudaErrorMemoryAllocation",
        "cudaErrorStreamCaptureUnsupported",
        "cudaErrorStreamCaptureInvalidated",
        "cudaErrorLaunchFailure",
    ],
    start=0,
)
FINE = Code.cudaSuccess
Work = list[Callable[[], object]]


@dataclass(eq=False)
class Graph:
    """Of a recording, or the executable one of it."""

    work: Work


class CudaDouble:
    """size: bytes of device memory; fault: what `cudaStreamSynchronize` answers from now on; alive:
    what was made and not destroyed, by kind."""

    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0
    cudaEventRecordDefault = 0
    cudaEventRecordExternal = 1

    def __init__(self, size: int = 1 << 20) -> None:
        self.size = size
        self.fault = FINE
        self.alive: dict[str, list[object]] = {}
        self.num_set_device = 0
        self.num_launched = 0
        self._memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._pinned: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._queued: Work = []
        self._recorded: Work | None = None
        self._spoiled = False
        self._clock_ms = 0.0

    @property
    def leaks(self) -> list[str]:
        """What was made and is still there."""
        held = [kind for kind, things in self.alive.items() for _ in things]
        return held + ["memory"] * len(self._memory) + ["pinned"] * len(self._pinned)

    @property
    def is_recording(self) -> bool:
        return self._recorded is not None

    def do(self, work: Callable[[], object]) -> None:
        """Queue work, or record it."""
        (self._queued if self._recorded is None else self._recorded).append(work)

    def cudaSetDevice(self, device: int) -> tuple[Code]:
        assert device == 0
        self.num_set_device += 1
        return (FINE,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Code, object]:
        assert flags == self.cudaStreamNonBlocking
        return FINE, self._made("stream", 7)

    def cudaStreamDestroy(self, stream: object) -> tuple[Code]:
        return self._gone("stream", stream)

    def cudaStreamSynchronize(self, stream: object) -> tuple[Code]:
        assert stream == 7
        assert self._recorded is None
        queued, self._queued = self._queued, []
        if not self.fault:
            for work in queued:
                work()
        return (self.fault,)

    def cudaMemGetInfo(self) -> tuple[Code, int, int]:
        return FINE, self.size - sum(map(len, self._memory.values())), self.size

    def cudaMalloc(self, num_bytes: int) -> tuple[Code, int | None]:
        if self._recorded is not None:
            self._spoiled = True
            return Code.cudaErrorStreamCaptureUnsupported, None
        if num_bytes > self.cudaMemGetInfo()[1]:
            return Code.cudaErrorMemoryAllocation, None
        return FINE, _keep(self._memory, num_bytes)

    def cudaFree(self, address: int) -> tuple[Code]:
        del self._memory[address]
        return (self.fault,)

    def cudaHostAlloc(self, num_bytes: int, flags: int) -> tuple[Code, int | None]:
        assert flags == self.cudaHostAllocDefault
        if num_bytes > self.size:
            return Code.cudaErrorMemoryAllocation, None
        return FINE, _keep(self._pinned, num_bytes)

    def cudaFreeHost(self, address: int) -> tuple[Code]:
        del self._pinned[address]
        return (FINE,)

    def cudaMemcpyAsync(
        self, to: int, source: int, num_bytes: int, kind: int, stream: object
    ) -> tuple[Code]:
        assert stream == 7
        on_device = (self._is_device(to, num_bytes), self._is_device(source, num_bytes))
        assert on_device == ((True, False), (False, True), (True, True))[kind - 1]
        self.do(lambda: ctypes.memmove(to, source, num_bytes))
        return (FINE,)

    def cudaStreamBeginCapture(self, stream: object, mode: int) -> tuple[Code]:
        assert (stream, mode) == (7, 1)
        self._recorded, self._spoiled = [], False
        return (FINE,)

    def cudaStreamEndCapture(self, stream: object) -> tuple[Code, Graph | None]:
        assert stream == 7
        assert self._recorded is not None
        recorded, self._recorded = self._recorded, None
        if self._spoiled:
            return Code.cudaErrorStreamCaptureInvalidated, None
        return FINE, self._made("graph", Graph(recorded))

    def cudaGraphInstantiate(self, graph: Graph, flags: int) -> tuple[Code, Graph]:
        assert flags == 0
        return FINE, self._made("executable", Graph(graph.work))

    def cudaGraphLaunch(self, graph: Graph, stream: object) -> tuple[Code]:
        assert stream == 7
        assert graph in self.alive["executable"]
        self.num_launched += 1
        for work in graph.work:
            self.do(work)
        return (FINE,)

    def cudaGraphDestroy(self, graph: Graph) -> tuple[Code]:
        return self._gone("graph", graph)

    def cudaGraphExecDestroy(self, graph: Graph) -> tuple[Code]:
        return self._gone("executable", graph)

    def cudaEventCreate(self) -> tuple[Code, SimpleNamespace]:
        return FINE, self._made("event", SimpleNamespace(ms=None))

    def cudaEventDestroy(self, event: object) -> tuple[Code]:
        return self._gone("event", event)

    def cudaEventRecordWithFlags(
        self, event: SimpleNamespace, stream: object, flags: int
    ) -> tuple[Code]:
        """Every event is a millisecond after the one before."""
        assert stream == 7
        if flags != int(self._recorded is not None):
            return (Code.cudaErrorInvalidValue,)

        def note() -> None:
            self._clock_ms += 1
            event.ms = self._clock_ms

        self.do(note)
        return (FINE,)

    def cudaEventElapsedTime(
        self, start: SimpleNamespace, end: SimpleNamespace
    ) -> tuple[Code, float]:
        return FINE, end.ms - start.ms

    def _is_device(self, address: int, num_bytes: int) -> bool:
        return any(
            begin <= address and address + num_bytes <= begin + len(memory)
            for begin, memory in self._memory.items()
        )

    def _made(self, kind: str, thing: object) -> object:
        self.alive.setdefault(kind, []).append(thing)
        return thing

    def _gone(self, kind: str, thing: object) -> tuple[Code]:
        self.alive[kind].remove(thing)
        return (self.fault,)


@dataclass(eq=False)
class KernelsDouble:
    """In the place of `DeviceKernels`: fills each array that it is given with ones."""

    cuda: CudaDouble
    opens: bool = True
    launched: list[tuple[str, tuple[int, int], int]] = field(default_factory=list)
    is_open: bool = False

    def open(self) -> None:
        assert self.cuda.num_set_device, "the thread has no context"
        if not self.opens:
            raise BufferError("the double does not open")
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def launch(
        self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value], *, stream: int
    ) -> None:
        self.launched.append((kernel.name, grid, stream))
        address = values["out"]
        assert isinstance(address, int)
        self.cuda.do(lambda: ctypes.memset(address, 1, 4))


def _keep(where: dict[int, ctypes.Array[ctypes.c_char]], num_bytes: int) -> int:
    buffer = ctypes.create_string_buffer(num_bytes)
    where[ctypes.addressof(buffer)] = buffer
    return ctypes.addressof(buffer)
