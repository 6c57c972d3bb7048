"""The portable back end: ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.manifest import GRAPH_NAMES, Build, Bundle, ModelSpec
from apsam_serve.errors import BackendUnavailableError, BundleError
from apsam_serve.runtime import builds, signature
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
}


def create(bundle: Bundle, options: RunnerOptions) -> OnnxRuntimeRunner:
    """A runner for one of the bundle's ONNX builds, not open yet."""
    return OnnxRuntimeRunner(bundle, options)


class OnnxRuntimeRunner:
    """Implements `runtime.base.Runner`."""

    def __init__(self, bundle: Bundle, options: RunnerOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._sessions: dict[str, Any] = {}

    @property
    def model(self) -> ModelSpec:
        return self._bundle.manifest.model

    @cached_property
    def build(self) -> Build:
        return builds.pick(self._bundle, self._options, forms=("onnx",))

    def open(self) -> None:
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        provider = _provider(self._options.device)
        if self.build.precision == "bf16" and self._options.device == "cpu":
            raise BackendUnavailableError(
                "ONNX Runtime has no bfloat16 convolutions on CPUs; choose build fp32 or fp16"
            )
        options = _session_options(self._options.threads)
        for graph in GRAPH_NAMES:
            spec = self.build.graphs[graph]
            file = self._bundle.file(spec.file)
            try:
                session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
            except Exception as error:  # the library's exceptions share no public base
                raise BundleError(
                    f"{file} cannot be loaded ({error}); export the bundle again"
                ) from error
            session.disable_fallback()
            if session.get_providers()[0] != provider:
                raise BackendUnavailableError(
                    f"{file} would run on {session.get_providers()}; expected {provider}"
                )
            signature.check(
                graph,
                spec,
                self.model,
                self.build.precision,
                inputs=_found(session.get_inputs()),
                outputs=_found(session.get_outputs()),
            )
            self._sessions[graph] = session

    def close(self) -> None:
        self._sessions.clear()

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        (embedding,) = self._run("image_encoder", ["embedding"], {"image": images})
        query, attention = self._run(
            "energy_encoder", ["energy_query", "attention"], {"image": images}
        )
        return EncodedBatch(embedding=embedding, energy_query=query, attention=attention)

    def decode(
        self,
        *,
        embedding: Held,
        energy_query: Held,
        image_index: NDArray[np.int64],
        coords: Floats,
        labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
    ) -> DecodedBatch:
        named = ["category_logits"] if self.model.categories else []
        logits, iou, *category = self._run(
            "prompt_decoder",
            ["low_res_logits", "iou", *named],
            {
                "embedding": embedding,
                "energy_query": energy_query,
                "image_index": image_index,
                "point_coords": coords,
                "point_labels": labels,
                "mask_input": mask_input,
                "has_mask_input": has_mask_input,
            },
        )
        return DecodedBatch(
            logits=logits, iou=iou, category_logits=category[0] if category else None
        )

    def _run(self, graph: str, outputs: list[str], feeds: Mapping[str, Any]) -> list[Floats]:
        results: list[Floats] = self._sessions[graph].run(outputs, feeds)
        return results


def _provider(device: str) -> str:
    """The provider of a device. Raises BackendUnavailableError: it never falls back to another."""
    available = onnxruntime.get_available_providers()
    provider = PROVIDERS.get(device)
    if provider is None or provider not in available:
        usable = [name for name, known in PROVIDERS.items() if known in available]
        raise BackendUnavailableError(
            f"onnxruntime {onnxruntime.__version__} cannot run on device {device!r} here; "
            f"it offers {', '.join(usable)}"
        )
    return provider


def _session_options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or num_cpus()
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False  # B, P and N change from call to call
    # Idle compute threads must not spin: the event loop and image decoding share the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _found(tensors: Any) -> dict[str, tuple[str, list[int | str | None]]]:
    return {t.name: (_DTYPES.get(t.type, t.type), list(t.shape)) for t in tensors}
