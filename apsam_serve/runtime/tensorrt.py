"""The back end for NVIDIA GPUs: plans of TensorRT, and portable ones of TensorRT-RTX."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import GRAPH_NAMES, Build, Bundle, GraphSpec, ModelSpec
from apsam_serve.contract.prompts import MAX_DECODER_POINTS, MAX_PROMPTS
from apsam_serve.contract.tensors import tensor_specs
from apsam_serve.errors import (
    ApsamError,
    BackendUnavailableError,
    BundleError,
    InvalidInputError,
)
from apsam_serve.ops.cuda import CudaDevice, describe_gpu, done, load_cuda
from apsam_serve.ops.memory import Device, DeviceArray
from apsam_serve.ops.plans import (
    Plan,
    Profile,
    fitting,
    load_library,
    signature_of,
    started,
)
from apsam_serve.ops.recordings import without_recordings
from apsam_serve.runtime import builds, signature
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions
from apsam_serve.runtime.devices import Staging, open_device
from apsam_serve.runtime.kernel_cache import KernelCache, cache_file

REACH = {"B": MAX_PROMPTS, "P": MAX_PROMPTS, "N": MAX_DECODER_POINTS}
"""The largest decode that the service asks for: every prompt may be about another image."""


def create(bundle: Bundle, options: RunnerOptions) -> TensorRTRunner:
    """A runner for one of the bundle's compiled builds, not open yet."""
    return TensorRTRunner(bundle, options)


class TensorRTRunner:
    """Implements `runtime.base.DeviceRunner`. Calls with host arrays go the same way, through the
    device's memory."""

    def __init__(self, bundle: Bundle, options: RunnerOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._plans: dict[str, Plan] = {}
        self._caches: dict[str, KernelCache] = {}
        self._runtime: Any = None
        self._device: CudaDevice | None = None
        self._staging: Staging | None = None
        self._replayable = False

    @property
    def model(self) -> ModelSpec:
        return self._bundle.manifest.model

    @cached_property
    def build(self) -> Build:
        return builds.pick(self._bundle, self._options, forms=("tensorrt", "tensorrt_rtx"))

    @property
    def device(self) -> Device | None:
        return self._device if self._options.on_device else None

    @property
    def replayable(self) -> bool:
        """Plans of TensorRT are; those of TensorRT-RTX where the library says so."""
        return self._replayable

    def open(self) -> None:
        try:
            with without_recordings():
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        build, device = self.build, self._options.device
        if device != "cuda":
            raise BackendUnavailableError(
                f"plans cannot run on device {device!r}; give device 'cuda', or a back end for it"
            )
        library = load_library(build.form)
        self._device = open_device(self._bundle, kernels=self._options.on_device)
        self._runtime, _, errors = started(library, "Runtime")
        engines = {graph: self._load(graph, library.__version__, errors) for graph in GRAPH_NAMES}
        most = max(engine.device_memory_size_v2 for engine in engines.values())
        working_memory = self._device.allocate((max(1, most),), "uint8")
        for graph, engine in engines.items():
            plan = Plan(
                graph,
                engine,
                self._device,
                create=partial(
                    engine.create_execution_context, self._config(graph, engine, library)
                ),
                working_memory=working_memory,
                errors=errors,
                recording=self._recording if self._options.on_device else None,
            )
            if graph == "prompt_decoder":
                _check_reach(build.graphs[graph], plan.profiles)
            self._plans[graph] = plan
        self._replayable = build.form == "tensorrt" or all(
            plan.capturable() for plan in self._plans.values()
        )
        signatures = tensor_specs(self.model, build.precision)
        self._staging = Staging(self._device, self.enqueue, signatures)

    def _load(self, graph: str, version: str, errors: Sequence[str]) -> Any:
        spec = self.build.graphs[graph]
        file = self._bundle.file(spec.file)
        engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if engine is None:
            made = {name: self.build.compiled.get(name) for name in ("version", "target")}
            raise BackendUnavailableError(
                f"{file} cannot be loaded by {self.build.form} {version} on this machine "
                f"({'; '.join(errors)}); it was compiled with {made}: compile plans here"
            )
        inputs, outputs = signature_of(engine)
        signature.check(
            graph, spec, self.model, self.build.precision, inputs=inputs, outputs=outputs
        )
        return engine

    def _config(self, graph: str, engine: Any, library: Any) -> Any:
        """How contexts are made: with working memory that we give them. In TensorRT-RTX, kernels
        for a shape are compiled when it first comes, because those that come later, in the
        background, would never get into a recording."""
        ours = library.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.build.form == "tensorrt":
            return ours
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(ours)
        eager = library.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        file, folder = None, self._options.cache
        if folder is not None:
            plan = self._bundle.manifest.files[self.build.graphs[graph].file]
            about = {"plan": plan.sha256, "library": f"{self.build.form} {library.__version__}"}
            file = cache_file(folder, about | describe_gpu(load_cuda()))
        self._caches[graph] = KernelCache(config, file)
        return config

    def close(self) -> None:
        with without_recordings():
            self._close()

    def _close(self) -> None:
        if self._device is not None:
            with suppress(ApsamError):  # after a fault there is nothing to free
                self._device.make_current()
        for cache in self._caches.values():
            cache.keep()
        self._caches.clear()
        self._plans.clear()
        self._staging = None
        self._runtime = None
        if self._device is not None:
            self._device.close()
            self._device = None

    def enqueue(
        self, graph: str, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        assert self._device is not None, "not open"
        self._device.make_current()
        if self._plans[graph].enqueue(inputs, outputs) and graph in self._caches:
            self._caches[graph].keep()

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        started = time.perf_counter()
        embedding = self._run("image_encoder", {"image": images})["embedding"]
        between = time.perf_counter()
        seen = self._run("energy_encoder", {"image": images if energy is None else energy})
        ended = time.perf_counter()
        return EncodedBatch(
            embedding=embedding,
            energy_query=seen["energy_query"],
            attention=seen["attention"],
            timings_s={"encode": between - started, "energy": ended - between},
        )

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
        answers = self._run(
            "prompt_decoder",
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
            logits=answers["low_res_logits"],
            iou=answers["iou"],
            category_logits=answers.get("category_logits"),
        )

    def _recording(self) -> bool:
        assert self._device is not None, "not open"
        cuda = load_cuda()
        status = done(cuda.cudaStreamIsCapturing(self._device.stream))
        return bool(status != cuda.cudaStreamCaptureStatus.cudaStreamCaptureStatusNone)

    def _run(self, graph: str, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert self._staging is not None, "not open"
        return self._staging.run(graph, feeds)


def _check_reach(spec: GraphSpec, profiles: Sequence[Profile]) -> None:
    shapes = {
        tensor.name: tuple(REACH[n] if isinstance(n, str) else n for n in tensor.shape)
        for tensor in spec.inputs
    }
    try:
        fitting(shapes, profiles)
    except InvalidInputError as error:
        raise BundleError(f"{spec.file}: {error}; export the bundle again") from error
