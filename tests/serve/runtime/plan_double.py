"""Doubles of TensorRT and of CUDA: a plan is an ONNX file, and device memory lies on the host.

They show that the back end hands over the right bytes under the right profile; whether the real
libraries agree, `test_gpu.py` shows on a GPU.
"""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from apsam_serve.contract.manifest import Precision, open_bundle, write_manifest

Profiles = Sequence[Mapping[str, tuple[int, int]]]
IMAGES: Profiles = ({"B": (1, 1)}, {"B": (2, 4)})
PROMPTS: Profiles = (
    {"B": (1, 1), "P": (1, 1), "N": (1, 20)},
    {"B": (1, 64), "P": (1, 64), "N": (1, 20)},
)
_DTYPES = {"uint8": "UINT8", "int64": "INT64", "float": "FLOAT"}
Code = IntEnum("Code", ["cudaSuccess", "cudaErrorMemoryAllocation"], start=0)
Severity = IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO"], start=0)


class Device:
    """What `cuda.bindings.runtime` does, with `size` bytes of memory. Copies to the device are done
    as late as CUDA may do them: when something on the stream needs them."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.size = size
        self.num_allocations = 0
        self.num_streams = 0
        self.starts = True
        self._memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._queued: list[tuple[int, int, int]] = []

    @property
    def allocated(self) -> int:
        """Bytes that nobody has freed."""
        return sum(len(buffer) for buffer in self._memory.values())

    def malloc(self, num_bytes: int) -> tuple[Code, int]:
        if self.allocated + num_bytes > self.size:
            return Code.cudaErrorMemoryAllocation, 0
        buffer = ctypes.create_string_buffer(num_bytes)
        self.num_allocations += 1
        self._memory[ctypes.addressof(buffer)] = buffer
        return Code.cudaSuccess, ctypes.addressof(buffer)

    def free(self, address: int) -> tuple[Code]:
        del self._memory[address]
        return (Code.cudaSuccess,)

    def copy(self, to: int, source: int, num_bytes: int, *_: object) -> tuple[Code]:
        address = next(each for each in (to, source) if each in self._memory)
        assert num_bytes <= len(self._memory[address])
        self._queued.append((to, source, num_bytes))
        if address == source:
            self.work_off()
        return (Code.cudaSuccess,)

    def work_off(self) -> None:
        """Do what is queued."""
        for to, source, num_bytes in self._queued:
            ctypes.memmove(to, source, num_bytes)
        self._queued.clear()

    def count_streams(self, change: int) -> Code:
        self.num_streams += change
        return Code.cudaSuccess

    def as_module(self) -> types.ModuleType:
        module = types.ModuleType("cuda.bindings.runtime")
        module.__dict__.update(
            cudaMemcpyKind=types.SimpleNamespace(
                cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2
            ),
            cudaGetDeviceCount=lambda: (Code.cudaSuccess, 1),
            cudaStreamCreate=lambda: (self.count_streams(1), 7),
            cudaStreamDestroy=lambda _stream: (self.count_streams(-1),),
            cudaStreamSynchronize=lambda _stream: (Code.cudaSuccess,),
            cudaMalloc=self.malloc,
            cudaFree=self.free,
            cudaMemcpyAsync=self.copy,
        )
        return module


class Engine:
    """A plan: its tensors, and profiles that give every free axis a range."""

    def __init__(self, data: bytes, device: Device) -> None:
        self.device = device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(data, options)
        self.inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        self.outputs = {tensor.name: tensor for tensor in self.session.get_outputs()}
        self.tensors = self.inputs | self.outputs
        self.profiles = PROMPTS if "point_coords" in self.inputs else IMAGES
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return types.SimpleNamespace(name="INPUT" if name in self.inputs else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> Any:
        return types.SimpleNamespace(name=_DTYPES[self.tensors[name].type[7:-1]])

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1 if isinstance(size, str) else size for size in self.tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        ranges = self.profiles[index]
        least, most = (
            [ranges[n][end] if isinstance(n, str) else n for n in self.inputs[name].shape]
            for end in (0, 1)
        )
        return [least, most, most]

    def create_execution_context(self) -> Context | None:
        return Context(self) if self.device.size else None


class Context:
    """Runs a plan on addresses, and refuses shapes outside the active profile."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.active_optimization_profile = index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        limits = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        self._shapes[name] = shape
        return all(a <= n <= b for a, n, b in zip(limits[0], shape, limits[2], strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses[name]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        free = {
            axis: size
            for tensor in self.engine.inputs.values()
            for axis, size in zip(tensor.shape, self._shapes[tensor.name], strict=True)
        }
        return tuple(free.get(size, size) for size in self.engine.outputs[name].shape)

    def execute_async_v3(self, _stream: int) -> bool:
        self.engine.device.work_off()
        feeds = {name: self._at(name, self._shapes[name]) for name in self.engine.inputs}
        names = list(self.engine.outputs)
        for name, answer in zip(names, self.engine.session.run(names, feeds), strict=True):
            self._at(name, answer.shape)[...] = answer
        return True

    def _at(self, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        dtype = np.dtype(
            self.engine.get_tensor_dtype(name).name.lower().replace("float", "float32")
        )
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(self._addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)


def install(patch: pytest.MonkeyPatch, device: Device) -> None:
    """Put both doubles where the back end looks for the libraries."""

    def runtime(logger: Any) -> Any:
        if not device.starts:
            raise TypeError("pybind11::init(): factory function returned nullptr")

        def deserialize(data: bytes) -> Engine | None:
            if data.startswith(b"not a plan"):
                logger.log(Severity.ERROR, "magic tag does not match")
                return None
            return Engine(data, device)

        return types.SimpleNamespace(deserialize_cuda_engine=deserialize)

    library = types.ModuleType("tensorrt")
    logger = type("ILogger", (), {severity.name: severity for severity in Severity})
    library.__dict__.update(__version__="10.9", ILogger=logger, Runtime=runtime)
    patch.setitem(sys.modules, "tensorrt", library)
    patch.setitem(sys.modules, "cuda.bindings.runtime", device.as_module())


def add_plans(bundle: Path, precision: Precision = "fp32") -> None:
    """Give a tiny bundle a build "plans" of the double."""
    manifest = open_bundle(bundle).manifest
    compiled = {"version": "10.9", "target": {"gpu": "a double"}}
    plans = replace(
        manifest.builds["fp32"], form="tensorrt", precision=precision, compiled=compiled
    )
    builds = {**manifest.builds, "plans": plans}
    write_manifest(bundle, replace(manifest, builds=builds, files={}))
