"""Compiled plans on the device: the library they need, and one of them as a function of arrays."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Form
from apsam_serve.errors import BackendUnavailableError, InvalidInputError
from apsam_serve.ops.cuda import Stream

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
    """One plan on the device. errors: what the library's logger collects. Raises
    BackendUnavailableError where the device has no room for it, or cannot run it."""

    def __init__(self, graph: str, engine: Any, stream: Stream, errors: Sequence[str]) -> None:
        self._graph = graph
        self._stream = stream
        self._errors = errors
        self._context = engine.create_execution_context()
        self._check(self._context is not None)
        inputs, outputs = signature_of(engine)
        self._inputs = {name: dtype for name, (dtype, _) in inputs.items()}
        self._outputs = {name: dtype for name, (dtype, _) in outputs.items()}
        self.profiles = [
            _profile(engine, index, inputs) for index in range(engine.num_optimization_profiles)
        ]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InvalidInputError where no profile fits, and
        BackendUnavailableError where the device fails."""
        context, stream = self._context, self._stream
        chosen = fitting({name: array.shape for name, array in feeds.items()}, self.profiles)
        if chosen != context.active_optimization_profile:
            self._check(context.set_optimization_profile_async(chosen, stream.handle))
        arrays = {n: np.ascontiguousarray(feeds[n], dtype) for n, dtype in self._inputs.items()}
        for name, array in arrays.items():
            self._check(context.set_input_shape(name, array.shape))
            stream.send(self._bind(name, array.nbytes), array)
        answers = {}
        for name, dtype in self._outputs.items():
            answers[name] = np.empty(tuple(context.get_tensor_shape(name)), dtype)
            self._bind(name, answers[name].nbytes)
        self._check(context.execute_async_v3(stream.handle))
        for name, answer in answers.items():
            stream.fetch(context.get_tensor_address(name), answer)
        stream.wait()
        return answers

    def _bind(self, name: str, num_bytes: int) -> int:
        address = self._stream.room(f"{self._graph}/{name}", num_bytes)
        self._check(self._context.set_tensor_address(name, address))
        return address

    def _check(self, succeeded: bool) -> None:
        if not succeeded:
            reason = self._errors[-1] if self._errors else "no reason given"
            raise BackendUnavailableError(
                f"the plan of {self._graph} failed on the GPU ({reason}); look at nvidia-smi for "
                "its memory, or run the bundle's fp32 build"
            )


def _profile(engine: Any, index: int, inputs: Iterable[str]) -> Profile:
    limits = {name: engine.get_tensor_profile_shape(name, index) for name in inputs}
    return {name: (tuple(least), tuple(most)) for name, (least, _, most) in limits.items()}


def _between(shape: Shape, least: Shape, most: Shape) -> bool:
    return len(shape) == len(most) and all(
        low <= size <= high for size, low, high in zip(shape, least, most, strict=True)
    )
