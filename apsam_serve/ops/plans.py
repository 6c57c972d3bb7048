"""Compiled plans on the device: the library they need, and one of them as work on its queue."""

from __future__ import annotations

import importlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from apsam_serve.contract.manifest import Form
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    DeviceFaultError,
    InvalidInputError,
    OutOfMemoryError,
)
from apsam_serve.ops.memory import Device, DeviceArray

INSTALL: dict[Form, str] = {
    "tensorrt": "pip install --extra-index-url https://pypi.nvidia.com 'apsam[gpu]'",
    "tensorrt_rtx": "pip install 'apsam[rtx]'",
}
"""A form is called like the library that compiles and runs it."""
DTYPES = {
    "UINT8": "uint8",
    "INT64": "int64",
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
}
MAX_CONTEXTS = 64
"""Of one plan. Callers choose the numbers of images, prompts and points, and so the shapes."""
_NO_MEMORY = "out ?of ?memory|allocat"
_log = logging.getLogger("apsam_serve.ops")
Shape = tuple[int, ...]
Declared = dict[str, tuple[str, list[int | str | None]]]
"""name -> (NumPy dtype, shape) of a plan's tensors; free axes are None."""
Profile = Mapping[str, tuple[Shape, Shape]]
"""input -> smallest and largest shape that a plan takes under one of its profiles."""


def load_library(form: Form) -> Any:
    """The library of that form, imported now. Raises BackendUnavailableError."""
    try:
        library = importlib.import_module(form)
        if getattr(library, "__version__", None) is None:  # what is left of a failed installation
            raise ImportError("an empty package of that name is")
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"{form} is not installed here ({error}); run {INSTALL[form]}"
        ) from error
    return library


def collecting_logger(library: Any) -> tuple[Any, list[str]]:
    """A logger of the library, and the list that its errors go to; its warnings go to Python's
    logging under the library's name, at level DEBUG."""
    errors: list[str] = []
    others = logging.getLogger(library.__name__)

    def log(_logger: Any, severity: Any, message: str) -> None:
        if severity <= library.ILogger.ERROR:
            errors.append(message)
        elif severity <= library.ILogger.WARNING:
            others.debug(message)

    return type("CollectingLogger", (library.ILogger,), {"log": log})(), errors


def started(library: Any, kind: Literal["Builder", "Runtime"]) -> tuple[Any, Any, list[str]]:
    """That object of the library, its logger and the list that its errors go to. Raises
    BackendUnavailableError where the library does not start."""
    logger, errors = collecting_logger(library)
    try:
        return getattr(library, kind)(logger), logger, errors
    except TypeError as error:  # what becomes of a null pointer in the library's constructors
        raise BackendUnavailableError(
            f"{library.__name__} does not start on this machine ({'; '.join(errors) or error}); "
            "look at nvidia-smi for its driver and its GPU"
        ) from error


def fitting(shapes: Mapping[str, Shape], profiles: Sequence[Profile]) -> int:
    """Index of the smallest profile that takes inputs of these shapes. Raises InvalidInputError."""
    fits = {
        index: sum(math.prod(largest) for _, largest in profile.values())
        for index, profile in enumerate(profiles)
        if all(_between(shapes[name], *limits) for name, limits in profile.items())
    }
    if not fits:
        largest = {name: limits[1] for name, limits in profiles[-1].items()}
        raise InvalidInputError(
            f"no profile of the plan takes inputs of {dict(shapes)}; the last one takes up to "
            f"{largest}: send fewer at once"
        )
    return min(fits, key=fits.__getitem__)


def signature_of(engine: Any) -> tuple[Declared, Declared]:
    """Inputs and outputs as a plan declares them."""
    found: dict[str, Declared] = {"INPUT": {}, "OUTPUT": {}}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        tensor = declared(engine.get_tensor_dtype(name), engine.get_tensor_shape(name))
        found[engine.get_tensor_mode(name).name][name] = tensor
    return found["INPUT"], found["OUTPUT"]


def declared(dtype: Any, shape: Iterable[int]) -> tuple[str, list[int | str | None]]:
    """The library's type and shape, whose free axes are -1, as the contract's check reads them."""
    return DTYPES.get(dtype.name, dtype.name), [None if size < 0 else size for size in shape]


class Plan:
    """One plan on the device.

    create: makes an execution context that leaves its working memory to us; working_memory: for all
    plans of a runner, which run one after the other, at least `device_memory_size_v2` of the
    largest; errors: what the library's logger collects; recording: whether the device records right
    now what is queued, None where nobody records.

    Every profile has a context of its own, so that changing profiles never waits for the device.
    What is recorded goes bad when its context changes (TensorRT's best practices: one context per
    recorded graph, with shared memory), so there every shape has one, up to MAX_CONTEXTS of them.
    Raises BackendUnavailableError where the library makes no context, or OutOfMemoryError.
    """

    def __init__(
        self,
        graph: str,
        engine: Any,
        device: Device,
        *,
        create: Callable[[], Any],
        working_memory: DeviceArray,
        errors: Sequence[str],
        recording: Callable[[], bool] | None = None,
    ) -> None:
        self._graph = graph
        self._device = device
        self._create = create
        self._working_memory = working_memory
        self._errors = errors
        self._recording = recording
        inputs, outputs = signature_of(engine)
        self._inputs = {name: dtype for name, (dtype, _) in inputs.items()}
        self._outputs = {name: dtype for name, (dtype, _) in outputs.items()}
        self.profiles = [
            _profile(engine, index, inputs) for index in range(engine.num_optimization_profiles)
        ]
        self._contexts: dict[int | tuple[Shape, ...], Any] = {}
        self._first: Any = self._new_context()
        self._unwanted: dict[tuple[str, Shape], DeviceArray] = {}

    def capturable(self) -> bool:
        """Whether TensorRT-RTX can be recorded with this plan, asked of its largest shapes. Only
        before the first `enqueue`."""
        largest = self.profiles[0].items()
        for name, (_, shape) in largest:
            self._check(self._first.set_input_shape(name, shape))
        return bool(self._first.is_stream_capturable(self._device.stream))

    def enqueue(
        self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> bool:
        """Queue the plan; outputs that are not named go to memory that nobody reads. Returns
        whether these shapes needed a new context, which may have compiled something.

        Raises InvalidInputError where no profile fits, OutOfMemoryError or DeviceFaultError; the
        latter also for shapes that come too late to be recorded.
        """
        shapes = {name: inputs[name].shape for name in self._inputs}
        index = fitting(shapes, self.profiles)
        key = self._key(index, tuple(shapes.values()))
        is_new = key not in self._contexts
        context = self._started(index) if is_new else self._contexts[key]
        for name, dtype in self._inputs.items():
            assert inputs[name].dtype == dtype, (name, inputs[name].dtype, dtype)
            self._check(context.set_input_shape(name, shapes[name]))
            self._check(context.set_tensor_address(name, inputs[name].address))
        for name in self._outputs:
            shape = tuple(context.get_tensor_shape(name))
            array = outputs[name] if name in outputs else self._unread(name, shape)
            assert array.shape == shape, (name, array.shape, shape)
            self._check(context.set_tensor_address(name, array.address))
        self._check(context.execute_async_v3(self._device.stream))
        self._contexts[key] = context
        return is_new

    def _key(self, index: int, shapes: tuple[Shape, ...]) -> int | tuple[Shape, ...]:
        """Which context takes these shapes under that profile."""
        if self._recording is None:
            return index
        if shapes in self._contexts or len(self._contexts) < MAX_CONTEXTS:
            return shapes
        if self._recording():
            raise DeviceFaultError(
                f"the plan of {self._graph} has {MAX_CONTEXTS} contexts already; nothing else of "
                "it is recorded"
            )
        return index

    def _started(self, index: int) -> Any:
        context, self._first = self._first or self._new_context(), None
        if index != context.active_optimization_profile:
            self._check(context.set_optimization_profile_async(index, self._device.stream))
        return context

    def _new_context(self) -> Any:
        context = self._create()
        if context is None:
            raise self._failure(BackendUnavailableError)
        memory = self._working_memory
        context.set_device_memory(memory.address, memory.num_bytes)
        return context

    def _unread(self, name: str, shape: Shape) -> DeviceArray:
        if (name, shape) not in self._unwanted:
            self._unwanted[name, shape] = self._device.allocate(shape, self._outputs[name])
        return self._unwanted[name, shape]

    def _check(self, succeeded: bool) -> None:
        if not succeeded:
            raise self._failure(DeviceFaultError)

    def _failure(self, other: type[BackendUnavailableError] | type[DeviceFaultError]) -> ApsamError:
        """What the library's last words mean; the words themselves go to the log."""
        words = self._errors[-1] if self._errors else "no reason given"
        _log.error("the plan of %s failed: %s", self._graph, words)
        if re.search(_NO_MEMORY, words, re.IGNORECASE):
            return OutOfMemoryError(
                f"the GPU has no memory left for the plan of {self._graph}; look at nvidia-smi for "
                "who takes it, or give --budget-bytes less",
                retry_after_s=1.0,
            )
        return other(
            f"the plan of {self._graph} failed on the GPU, the log has the library's words; look "
            "at nvidia-smi for its memory and faults, or run the bundle's fp32 build"
        )


def _profile(engine: Any, index: int, inputs: Iterable[str]) -> Profile:
    limits = {name: engine.get_tensor_profile_shape(name, index) for name in inputs}
    return {name: (tuple(least), tuple(most)) for name, (least, _, most) in limits.items()}


def _between(shape: Shape, least: Shape, most: Shape) -> bool:
    return len(shape) == len(most) and all(
        low <= size <= high for size, low, high in zip(shape, least, most, strict=True)
    )
