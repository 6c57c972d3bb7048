"""ONNX Runtime's sessions: loaded where they were asked to run, and run on arrays or addresses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    DeviceFaultError,
    InvalidInputError,
    OutOfMemoryError,
)
from apsam_serve.ops.memory import DeviceArray
from apsam_serve.ops.recordings import turn_to_record

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
MAX_BINDINGS = 64
"""Of one graph. Callers choose the numbers of images, prompts and points, and so the shapes."""
_SHAPE_ARITHMETIC = {"Shape", "Size", "Squeeze", "Unsqueeze", "Gather", "Concat", "Slice", "Cast"}
"""Operators on the sizes of free axes, which ONNX Runtime leaves on the host on purpose. The
decoder has some, so that the entry session.disable_cpu_ep_fallback would refuse every decoder."""
_NO_MEMORY = "allocate memory|out of memory|bad_alloc|ALLOC_FAILED"
_NO_GPU = "(CUDA|CUDNN|CUBLAS) failure|CUDA and cuDNN"
_NOT_TAKEN = "Got invalid dimensions"
"""What is left of InvalidArgument when the inputs are bound addresses."""
_NOT_RECORDABLE = "graph capture"
_NOT_RECORDED = "-1"
_RETRY_AFTER_S = 1.0
_log = logging.getLogger("apsam_serve.runtime")


def provider_of(device: str) -> str:
    """The provider of a device. Raises BackendUnavailableError: it never falls back to another."""
    if device == "cuda":
        onnxruntime.preload_dlls()  # CUDA and cuDNN as pip installs them, where nobody else looks
    available = onnxruntime.get_available_providers()
    provider = PROVIDERS.get(device)
    if provider is None or provider not in available:
        usable = [name for name, known in PROVIDERS.items() if known in available]
        raise BackendUnavailableError(
            f"onnxruntime {onnxruntime.__version__} cannot run on device {device!r} here; "
            f"it offers {', '.join(usable)}"
        )
    return provider


def provider_options(device: str, *, stream: int | None) -> dict[str, str]:
    """stream: handle of the CUDA stream that everything is queued on and recorded for; None for one
    of ONNX Runtime's own."""
    if device == "cpu":
        return {}
    options = {
        "device_id": "0",
        "use_tf32": "0",  # what a graph declares FP32 is computed in FP32, as in plans
        "cudnn_conv_algo_search": "HEURISTIC",  # the default times every algorithm at a new shape
        "arena_extend_strategy": "kSameAsRequested",  # the default takes twice as much each time
    }
    if stream is not None:
        options |= {"user_compute_stream": str(stream), "enable_cuda_graph": "1"}
    return options


def load(file: Path, provider: str, options: Mapping[str, str], *, threads: int) -> Any:
    """A session of a graph, all of it on that provider.

    Raises BackendUnavailableError where any of it would run elsewhere, BundleError, or
    OutOfMemoryError.
    """
    try:
        session = onnxruntime.InferenceSession(
            str(file),
            _session_options(threads),
            providers=[(provider, dict(options))],
            enable_fallback=0,  # else it prints why the provider fails, and loads it on the CPU
        )
    except Exception as error:  # the library's exceptions share no public base
        raise refusal(file, provider, error) from error
    if session.get_providers()[0] != provider:
        raise BackendUnavailableError(
            f"{file} would run on {session.get_providers()}; expected {provider}"
        )
    strays = elsewhere(session.get_provider_graph_assignment_info(), provider)
    if strays:
        raise BackendUnavailableError(
            f"{file} would run partly on other providers than {provider}: {', '.join(strays)}; "
            "serve it with device 'cpu', or with plans"
        )
    return session


def refusal(file: Path, provider: str, error: Exception) -> ApsamError:
    """What an error of the library while it loads means."""
    if re.search(_NO_MEMORY, str(error), re.IGNORECASE):
        return failure(file.name, error)
    if _NOT_RECORDABLE in str(error):
        return BackendUnavailableError(
            f"{file} cannot be recorded by {provider} ({error}); serve it with plans, or with "
            "device 'cpu'"
        )
    if re.search(_NO_GPU, str(error)):
        return BackendUnavailableError(
            f"{provider} does not work here ({error}); look at nvidia-smi, install CUDA and cuDNN "
            "as onnxruntime wants them, or serve with device 'cpu'"
        )
    return BundleError(f"{file} cannot be loaded ({error}); export the bundle again")


def elsewhere(assigned: Iterable[Any], provider: str) -> list[str]:
    """Operators that ONNX Runtime has put on another provider, beside shape arithmetic."""
    found = {
        f"{node.op_type} on {part.ep_name}"
        for part in assigned
        for node in part.get_nodes()
        if part.ep_name != provider and node.op_type not in _SHAPE_ARITHMETIC
    }
    return sorted(found)


def failure(graph: str, error: Exception) -> ApsamError:
    """What an error of the library at work means; its words go to the log."""
    if isinstance(error, InvalidArgument) or _NOT_TAKEN in str(error):
        words = " ".join(str(error).split())
        return InvalidInputError(f"{graph} does not take these inputs: {words}")
    _log.error("%s failed: %s", graph, error)
    if isinstance(error, MemoryError) or re.search(_NO_MEMORY, str(error), re.IGNORECASE):
        return OutOfMemoryError(
            f"there is no memory left to run {graph}; retry with fewer prompts at once, or serve a "
            "smaller model",
            retry_after_s=_RETRY_AFTER_S,
        )
    return DeviceFaultError(
        f"{graph} failed in ONNX Runtime ({type(error).__name__}), the log has its words; look at "
        "the device's health, or export the bundle again"
    )


class Session:
    """A loaded graph. device: what addresses belong to; recorded: whether ONNX Runtime records what
    it queues there, once for each binding, and replays it."""

    def __init__(self, graph: str, session: Any, *, device: str, recorded: bool) -> None:
        self._graph = graph
        self._session = session
        self._device = device
        self._recorded = recorded
        self._bindings: dict[object, tuple[Any, Any]] = {}
        self._to_record: set[object] = set()

    def run(self, outputs: list[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs as arrays for arrays. Raises OutOfMemoryError, DeviceFaultError or
        InvalidInputError, as does `enqueue`."""
        options = _run_options(_NOT_RECORDED, waits=True) if self._recorded else None
        try:
            answers: list[Any] = self._session.run(outputs, feeds, options)
        except Exception as error:  # the library's exceptions share no public base
            raise failure(self._graph, error) from error
        return answers

    def enqueue(
        self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """Queue the graph on addresses, without waiting for it where the device has a queue.
        Outputs that are not named are not computed for anybody."""
        key = (_places(inputs), _places(outputs))
        try:
            binding, options = self._bound(key, inputs, outputs)
            if key not in self._to_record:
                self._session.run_with_iobinding(binding, options)
                return
            with turn_to_record() as allowed:
                plain = _run_options(_NOT_RECORDED, waits=False)
                self._session.run_with_iobinding(binding, options if allowed else plain)
                if allowed:
                    self._to_record.remove(key)
        except Exception as error:  # the library's exceptions share no public base
            raise failure(self._graph, error) from error

    def _bound(
        self, key: object, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> tuple[Any, Any]:
        """The binding of these shapes and addresses, and how it is run. A recording holds both, so
        each binding that is kept has one of its own; what comes too late is not recorded."""
        if key in self._bindings:
            return self._bindings[key]
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, **self._place(array))
        for name, array in outputs.items():
            binding.bind_output(name, **self._place(array))
        number = len(self._bindings)
        kept = number < MAX_BINDINGS
        graph_id = str(number) if self._recorded and kept else _NOT_RECORDED
        options = _run_options(graph_id, waits=False)
        if kept:
            self._bindings[key] = binding, options
            if self._recorded:
                self._to_record.add(key)
        return binding, options

    def _place(self, array: DeviceArray) -> dict[str, Any]:
        return {
            "device_type": self._device,
            "device_id": 0,
            "element_type": np.dtype(array.dtype).type,
            "shape": array.shape,
            "buffer_ptr": array.address,
        }


def _places(arrays: Mapping[str, DeviceArray]) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    return tuple(sorted((name, array.address, array.shape) for name, array in arrays.items()))


def _run_options(graph_id: str, *, waits: bool) -> Any:
    """graph_id: of the recording that the run makes or replays."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph_id)
    options.add_run_config_entry("disable_synchronize_execution_providers", str(int(not waits)))
    return options


def _session_options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or num_cpus()
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False  # B, P and N change from call to call
    # Idle compute threads must not spin: the event loop and image decoding share the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.log_severity_level = 3
    return options
