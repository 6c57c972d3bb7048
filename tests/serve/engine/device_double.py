"""A device whose memory and kernels are the host's, and a runner over it.

It is as late and as literal as a GPU: nothing that is queued happens before `wait`, new memory
holds NaN, and a recording repeats what was queued once, whatever its caller means by now.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from apsam_serve.contract.manifest import GRAPH_NAMES, Bundle
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import DeviceFaultError, OutOfMemoryError
from apsam_serve.ops.kernels import Kernel, Value
from apsam_serve.ops.memory import DeviceArray

Array = NDArray[Any]
_ALIGNMENT = 256
_NAN_BYTE = 0xFF


class HostDevice:
    """Implements `ops.memory.Device`. size: bytes of memory; faulty: `wait` fails from now on."""

    def __init__(self, kernels: ctypes.CDLL, *, size: int = 1 << 30) -> None:
        self.size = size
        self.faulty = False
        self.num_allocations = 0
        self.num_waits = 0
        self.num_replays = 0
        self.fetched_bytes = 0
        self.stream = 7
        self._kernels = kernels
        self._memory: dict[int, Array] = {}
        self._pinned: list[Array] = []
        self._queued: list[Callable[[], object]] = []
        self._recordings: dict[object, list[Callable[[], object]] | None] = {}
        self._times_s: dict[str, float] = {}

    @property
    def allocated(self) -> int:
        """Bytes that nobody has freed."""
        return sum(memory.nbytes for memory in self._memory.values())

    @property
    def num_queued(self) -> int:
        """What waits for `wait`."""
        return len(self._queued)

    @property
    def num_pinned(self) -> int:
        """Page-locked arrays, which live until `close`."""
        return len(self._pinned)

    def allocate(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        num_bytes = DeviceArray(address=0, shape=shape, dtype=dtype).num_bytes
        if self.allocated + num_bytes > self.size:
            raise OutOfMemoryError(f"no room for {num_bytes} bytes", retry_after_s=1.0)
        memory = _garbage(num_bytes)
        self._memory[memory.ctypes.data] = memory
        self.num_allocations += 1
        address = memory.ctypes.data
        return DeviceArray(address=address, shape=shape, dtype=dtype, stream=self.stream)

    def free(self, array: DeviceArray) -> None:
        assert not self._queued, "what is queued may use it"
        del self._memory[array.address]

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        self.num_allocations += 1
        self._pinned.append(_garbage(DeviceArray(address=0, shape=shape, dtype=dtype).num_bytes))
        return self._pinned[-1].view(dtype).reshape(shape)

    def send(self, to: DeviceArray, source: Array) -> None:
        assert (source.shape, source.dtype) == (to.shape, np.dtype(to.dtype))
        assert source.flags.c_contiguous
        self._require_inside(to)
        address = source.ctypes.data
        self.queue(lambda: ctypes.memmove(to.address, address, to.num_bytes))

    def fetch(self, to: Array, source: DeviceArray) -> None:
        assert (to.shape, to.dtype) == (source.shape, np.dtype(source.dtype))
        assert to.flags.c_contiguous
        self._require_inside(source)
        self.fetched_bytes += source.num_bytes
        address = to.ctypes.data
        self.queue(lambda: ctypes.memmove(address, source.address, source.num_bytes))

    def copy(self, to: DeviceArray, source: DeviceArray) -> None:
        assert to.num_bytes == source.num_bytes
        assert to.dtype == source.dtype
        self._require_inside(to)
        self._require_inside(source)
        self.queue(lambda: ctypes.memmove(to.address, source.address, to.num_bytes))

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value]) -> None:
        arguments = kernel.arguments(values)

        def run() -> None:
            done = self._kernels.launch(kernel.name.encode(), *grid, 1, arguments.addresses)
            assert done == 0, kernel.name

        self.queue(run)

    def replay(self, key: object, work: Callable[[], None]) -> None:
        if key not in self._recordings:
            self._recordings[key] = None
            work()
            return
        recording = self._recordings[key]
        if recording is None:
            before, self._queued = self._queued, []
            work()
            recording, self._queued = self._queued, before
            self._recordings[key] = recording
        self.num_replays += 1
        self._queued += recording

    def mark(self, name: str) -> None:
        self.queue(lambda: self._times_s.update({name: time.perf_counter()}))

    def elapsed_s(self, begin: str, end: str) -> float:
        return self._times_s[end] - self._times_s[begin]

    def wait(self) -> None:
        self.num_waits += 1
        queued, self._queued = self._queued, []
        if self.faulty:
            raise DeviceFaultError("the double is faulty")
        for work in queued:
            work()

    def memory_bytes(self) -> dict[str, int]:
        return {"used": 0, "total": 0}

    def close(self) -> None:
        self._memory.clear()

    def queue(self, work: Callable[[], object]) -> None:
        """Do something when its turn comes."""
        self._queued.append(work)

    def view(self, array: DeviceArray) -> Array:
        """What lies there now; it must lie inside one allocation."""
        self._require_inside(array)
        memory = (ctypes.c_char * array.num_bytes).from_address(array.address)
        return np.frombuffer(memory, array.dtype).reshape(array.shape)

    def _require_inside(self, array: DeviceArray) -> None:
        assert any(
            begin <= array.address and array.address + array.num_bytes <= begin + memory.nbytes
            for begin, memory in self._memory.items()
        ), array


class HostRunner:
    """Implements `runtime.base.DeviceRunner` over the graphs of a bundle's build fp32. spoil: may
    change what a graph answers, by its name."""

    def __init__(self, bundle: Bundle, device: HostDevice, *, replayable: bool) -> None:
        self.model = bundle.manifest.model
        self.build = bundle.manifest.builds["fp32"]
        self.device = device
        self.replayable = replayable
        self.spoil: Callable[[str, dict[str, Array]], None] = lambda graph, answers: None
        self.shapes: list[tuple[str, dict[str, tuple[int, ...]]]] = []
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._specs = tensor_specs(self.model)
        self._sessions = {
            graph: onnxruntime.InferenceSession(
                str(bundle.file(self.build.graphs[graph].file)), options
            )
            for graph in GRAPH_NAMES
        }

    def enqueue(
        self, graph: str, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        takes, gives = self._specs[graph]
        assert set(inputs) == {tensor.name for tensor in takes}
        assert set(outputs) <= {tensor.name for tensor in gives}
        for tensor in (*takes, *gives):
            array = inputs.get(tensor.name) or outputs.get(tensor.name)
            if array is not None:
                assert array.dtype == tensor.dtype, tensor.name
                assert array.address % _ALIGNMENT == 0, tensor.name
        self.shapes.append((graph, {name: array.shape for name, array in inputs.items()}))

        def run() -> None:
            feeds = {name: self.device.view(array).copy() for name, array in inputs.items()}
            if graph == "prompt_decoder":
                given = feeds["mask_input"].any(axis=(1, 2, 3))
                assert feeds["has_mask_input"].tolist() == given.tolist(), "zeros for no mask"
            found = self._sessions[graph].run(list(outputs), feeds)
            answers = dict(zip(outputs, found, strict=True))
            self.spoil(graph, answers)
            for name, array in outputs.items():
                assert answers[name].shape == array.shape, name
                self.device.view(array)[...] = answers[name]

        self.device.queue(run)


def _garbage(num_bytes: int) -> Array:
    whole = np.full(num_bytes + _ALIGNMENT, _NAN_BYTE, np.uint8)
    begin = -whole.ctypes.data % _ALIGNMENT
    return whole[begin : begin + num_bytes]
