"""Doubles of TensorRT, TensorRT-RTX and CUDA: a plan is an ONNX file, a device a piece of the host.

They show that the back end hands over the right bytes under the right profile, and that nothing
changes a context whose work was recorded; whether the real libraries agree, `test_gpu.py` shows on
a GPU.
"""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from apsam_serve.contract.manifest import (
    Form,
    KernelSpec,
    Precision,
    open_bundle,
    write_manifest,
)
from apsam_serve.ops.sources import source_sha256

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
    as late as CUDA may do them: when something on the stream needs them. While it records, nothing
    is done; a replay does it then."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.size = size
        self.num_allocations = 0
        self.num_streams = 0
        self.starts = self.makes_contexts = True
        self.fault = ""
        self.name = "a double"
        self.recorded: list[Callable[[], object]] | None = None
        self._memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._queued: list[tuple[int, int, int]] = []

    @property
    def allocated(self) -> int:
        """Bytes that nobody has freed."""
        return sum(len(buffer) for buffer in self._memory.values())

    def malloc(self, num_bytes: int) -> tuple[Code, int]:
        if self.recorded is not None or self.allocated + num_bytes > self.size:
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

    def do(self, work: Callable[[], object]) -> None:
        """Do something on the stream, or record it."""
        if self.recorded is not None:
            self.recorded.append(work)
            return
        self.work_off()
        work()

    def begin(self, _stream: object, _mode: object) -> tuple[Code]:
        self.recorded = []
        return (Code.cudaSuccess,)

    def end(self, _stream: object) -> tuple[Code, object]:
        graph, self.recorded = self.recorded, None
        return Code.cudaSuccess, graph

    def launch(self, graph: list[Callable[[], object]], _stream: object) -> tuple[Code]:
        for work in graph:
            self.do(work)
        return (Code.cudaSuccess,)

    def count_streams(self, change: int) -> Code:
        self.num_streams += change
        return Code.cudaSuccess

    def as_module(self) -> types.ModuleType:
        def fine(*_: object) -> tuple[Code]:
            return (Code.cudaSuccess,)

        properties = types.SimpleNamespace(name=self.name.encode(), major=9, minor=0)
        module = types.ModuleType("cuda.bindings.runtime")
        module.__dict__.update(
            cudaMemcpyKind=types.SimpleNamespace(
                cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2
            ),
            cudaStreamNonBlocking=1,
            cudaStreamCaptureMode=types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
            cudaStreamCaptureStatus=types.SimpleNamespace(cudaStreamCaptureStatusNone=0),
            cudaGetDeviceCount=lambda: (Code.cudaSuccess, 1),
            cudaGetDeviceProperties=lambda _device: (Code.cudaSuccess, properties),
            cudaSetDevice=fine,
            cudaStreamCreateWithFlags=lambda _flags: (self.count_streams(1), 7),
            cudaStreamDestroy=lambda _stream: (self.count_streams(-1),),
            cudaStreamSynchronize=fine,
            cudaStreamIsCapturing=lambda _s: (Code.cudaSuccess, int(self.recorded is not None)),
            cudaStreamBeginCapture=self.begin,
            cudaStreamEndCapture=self.end,
            cudaGraphInstantiate=lambda graph, _flags: (Code.cudaSuccess, graph),
            cudaGraphLaunch=self.launch,
            cudaGraphDestroy=fine,
            cudaGraphExecDestroy=fine,
            cudaMalloc=self.malloc,
            cudaMemGetInfo=lambda: (Code.cudaSuccess, self.size - self.allocated, self.size),
            cudaFree=self.free,
            cudaMemcpyAsync=self.copy,
        )
        return module


class Engine:
    """A plan: its tensors, and profiles that give every free axis a range."""

    def __init__(self, data: bytes, device: Device, logger: Any) -> None:
        self.device = device
        self.logger = logger
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(data, options)
        self.inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        self.outputs = {tensor.name: tensor for tensor in self.session.get_outputs()}
        self.tensors = self.inputs | self.outputs
        self.profiles = PROMPTS if "point_coords" in self.inputs else IMAGES
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(self.profiles)
        self.device_memory_size_v2 = 1000

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

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, config: object) -> Context | None:
        if isinstance(config, RuntimeConfig):
            assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
            config, cache = config.strategy, config.cache
            assert cache is not None
            cache.compile("shared")
        else:
            cache = None
        assert config == "user managed"
        return Context(self, cache) if self.device.makes_contexts else None


class RuntimeConfig:
    """What a context of TensorRT-RTX is made with."""

    def __init__(self) -> None:
        self.strategy = "static"
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"
        self.cache: RuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class RuntimeCache:
    """Names of compiled kernels; total_compiled: how many had to be, over all caches."""

    total_compiled = 0

    def __init__(self) -> None:
        self._kernels: set[str] = set()

    def compile(self, kernel: str) -> None:
        RuntimeCache.total_compiled += kernel not in self._kernels
        self._kernels.add(kernel)

    def serialize(self) -> bytes:
        return "kernels:{}".format(";".join(sorted(self._kernels))).encode()

    def deserialize(self, data: bytes) -> bool:
        head, _, names = data.decode().partition(":")
        if head == "kernels":
            self._kernels = set(names.split(";"))
        return head == "kernels"


class Context:
    """Runs a plan on addresses, and refuses shapes outside the active profile."""

    def __init__(self, engine: Engine, cache: RuntimeCache | None) -> None:
        self.engine = engine
        self.active_optimization_profile = 0
        self._cache = cache
        self._working_memory = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self.engine.device_memory_size_v2
        self._working_memory = address

    def is_stream_capturable(self, _stream: int) -> bool:
        return len(self._shapes) == len(self.engine.inputs)

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

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        free = {
            axis: size
            for tensor in self.engine.inputs.values()
            for axis, size in zip(tensor.shape, self._shapes[tensor.name], strict=True)
        }
        return tuple(free.get(size, size) for size in self.engine.outputs[name].shape)

    def execute_async_v3(self, _stream: int) -> bool:
        assert self._working_memory
        if self.engine.device.fault:
            self.engine.logger.log(Severity.ERROR, self.engine.device.fault)
            return False
        if self._cache is not None:
            self._cache.compile(str(self._shapes))
        self.engine.device.do(partial(self._run, dict(self._addresses), dict(self._shapes)))
        return True

    def _run(self, places: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Run on addresses and shapes as they were when it was queued."""
        assert shapes == self._shapes, "the context was changed after its work was recorded"
        feeds = {n: self._at(n, places[n], shapes[n]) for n in self.engine.inputs}
        names = list(self.engine.outputs)
        for name, answer in zip(names, self.engine.session.run(names, feeds), strict=True):
            self._at(name, places[name], answer.shape)[...] = answer

    def _at(self, name: str, place: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        dtype = np.dtype(
            self.engine.get_tensor_dtype(name).name.lower().replace("float", "float32")
        )
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(place)
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
            return Engine(data, device, logger)

        return types.SimpleNamespace(deserialize_cuda_engine=deserialize)

    severities: dict[str, Any] = {severity.name: severity for severity in Severity}
    for name in ("tensorrt", "tensorrt_rtx"):
        library = types.ModuleType(name)
        library.__dict__.update(
            __version__="10.9",
            ILogger=type("ILogger", (), severities),
            Runtime=runtime,
            ExecutionContextAllocationStrategy=types.SimpleNamespace(USER_MANAGED="user managed"),
            DynamicShapesKernelSpecializationStrategy=types.SimpleNamespace(EAGER="eager"),
        )
        patch.setitem(sys.modules, name, library)
    patch.setitem(sys.modules, "cuda.bindings.runtime", device.as_module())
    patch.setitem(sys.modules, "cuda.bindings.driver", _driver())


def _driver() -> types.ModuleType:
    """`cuda.bindings.driver` as far as kernels are loaded, which are never launched here."""

    def answer(value: object) -> Callable[..., tuple[str, object]]:
        return lambda *_: ("fine", value)

    module = types.ModuleType("cuda.bindings.driver")
    module.__dict__.update(
        CUresult=types.SimpleNamespace(CUDA_SUCCESS="fine"),
        **dict.fromkeys(("cuInit", "cuModuleUnload"), answer(None)),
        **dict.fromkeys(("cuCtxGetCurrent", "cuModuleLoadData", "cuModuleGetFunction"), answer(1)),
    )
    return module


def add_plans(bundle: Path, precision: Precision = "fp32", form: Form = "tensorrt") -> None:
    """Give a tiny bundle a build "plans" of the double."""
    manifest = open_bundle(bundle).manifest
    compiled = {"version": "10.9", "target": {"gpu": "a double"}}
    plans = replace(manifest.builds["fp32"], form=form, precision=precision, compiled=compiled)
    builds = {**manifest.builds, "plans": plans}
    write_manifest(bundle, replace(manifest, builds=builds, files={}))


def add_kernels(bundle: Path, files: Mapping[str, str]) -> None:
    """Give a bundle kernels that the double of the driver takes for compiled ones."""
    manifest = open_bundle(bundle).manifest
    for name in files.values():
        (bundle / name).write_bytes(b"not machine code")
    kernels = KernelSpec(
        source_sha256=source_sha256(), compiler="a double", options=(), files=files
    )
    write_manifest(bundle, replace(manifest, kernels=kernels, files={}))
