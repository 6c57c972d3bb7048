"""The portable back end: ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import GRAPH_NAMES, Build, Bundle, ModelSpec
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import CudaDevice
from apsam_serve.ops.memory import Device, DeviceArray
from apsam_serve.ops.recordings import without_recordings
from apsam_serve.runtime import builds, sessions, signature
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions
from apsam_serve.runtime.devices import open_device
from apsam_serve.runtime.sessions import Session

_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
}
_SMALL_EMBEDDING = 2**16
"""Numbers in an embedding up to which one prompt is decoded by one thread: its products are so
small that waking another thread for each takes longer than that thread saves."""


def create(bundle: Bundle, options: RunnerOptions) -> OnnxRuntimeRunner:
    """A runner for one of the bundle's ONNX builds, not open yet."""
    return OnnxRuntimeRunner(bundle, options)


class OnnxRuntimeRunner:
    """Implements `runtime.base.DeviceRunner`."""

    def __init__(self, bundle: Bundle, options: RunnerOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._sessions: dict[str, Session] = {}
        self._lone_decoder: Session | None = None
        self._device: CudaDevice | None = None

    @property
    def model(self) -> ModelSpec:
        return self._bundle.manifest.model

    @cached_property
    def build(self) -> Build:
        return builds.pick(self._bundle, self._options, forms=("onnx",))

    @property
    def device(self) -> Device | None:
        return self._device

    @property
    def replayable(self) -> bool:
        """No: ONNX Runtime records by itself."""
        return False

    def open(self) -> None:
        try:
            with without_recordings():
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        device, on_device = self._options.device, self._options.on_device
        provider = sessions.provider_of(device)
        if self.build.precision == "bf16" and device == "cpu":
            raise BackendUnavailableError(
                "ONNX Runtime has no bfloat16 convolutions on CPUs; choose build fp32 or fp16"
            )
        if device == "cuda" and on_device:
            self._device = open_device(self._bundle, kernels=True)
        stream = None if self._device is None else self._device.stream
        options = sessions.provider_options(device, stream=stream)
        for graph in GRAPH_NAMES:
            self._sessions[graph] = self._load(
                graph, provider, options, threads=self._options.threads
            )
        small = self.model.embed_dim * self.model.grid**2 <= _SMALL_EMBEDDING
        if device == "cpu" and self._options.threads != 1 and small:
            self._lone_decoder = self._load("prompt_decoder", provider, options, threads=1)

    def _load(
        self, graph: str, provider: str, options: Mapping[str, str], *, threads: int
    ) -> Session:
        spec, device = self.build.graphs[graph], self._options.device
        file = self._bundle.file(spec.file)
        session = sessions.load(file, provider, options, threads=threads)
        signature.check(
            graph,
            spec,
            self.model,
            self.build.precision,
            inputs=_found(session.get_inputs()),
            outputs=_found(session.get_outputs()),
        )
        return Session(graph, session, device=device, recorded=self._device is not None)

    def close(self) -> None:
        with without_recordings():
            self._sessions.clear()
            self._lone_decoder = None
            if self._device is not None:
                self._device.close()
                self._device = None

    def enqueue(
        self, graph: str, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """See `DeviceRunner`; on the CPU, addresses are the host's, and it is done when this
        returns."""
        if self._device is not None:
            self._device.make_current()
        self._sessions[graph].enqueue(inputs, outputs)

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        started = time.perf_counter()
        (embedding,) = self._run(self._sessions["image_encoder"], ["embedding"], {"image": images})
        between = time.perf_counter()
        seen = {"image": images if energy is None else energy}
        query, attention = self._run(
            self._sessions["energy_encoder"], ["energy_query", "attention"], seen
        )
        ended = time.perf_counter()
        return EncodedBatch(
            embedding=embedding,
            energy_query=query,
            attention=attention,
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
        named = ["category_logits"] if self.model.categories else []
        session = self._sessions["prompt_decoder"]
        if self._lone_decoder is not None and len(coords) == 1:
            session = self._lone_decoder
        logits, iou, *category = self._run(
            session,
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

    def _run(self, session: Session, outputs: list[str], feeds: Mapping[str, Any]) -> list[Any]:
        if self._device is not None:
            self._device.make_current()
        return session.run(outputs, feeds)


def _found(tensors: Any) -> dict[str, tuple[str, list[int | str | None]]]:
    return {t.name: (_DTYPES.get(t.type, t.type), list(t.shape)) for t in tensors}
