"""The back end for NVIDIA GPUs: plans of TensorRT, and portable ones of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import GRAPH_NAMES, Build, Bundle, GraphSpec, ModelSpec
from apsam_serve.contract.prompts import MAX_DECODER_POINTS, MAX_PROMPTS
from apsam_serve.errors import BackendUnavailableError, BundleError, InvalidInputError
from apsam_serve.ops.cuda import Stream, load_cuda
from apsam_serve.ops.plans import (
    Plan,
    Profile,
    fitting,
    load_library,
    signature_of,
    started,
)
from apsam_serve.runtime import builds, signature
from apsam_serve.runtime.base import DecodedBatch, EncodedBatch, Floats, Held, RunnerOptions

REACH = {"B": MAX_PROMPTS, "P": MAX_PROMPTS, "N": MAX_DECODER_POINTS}
"""The largest decode that the service asks for: every prompt may be about another image."""


def create(bundle: Bundle, options: RunnerOptions) -> TensorRTRunner:
    """A runner for one of the bundle's compiled builds, not open yet."""
    return TensorRTRunner(bundle, options)


class TensorRTRunner:
    """Implements `runtime.base.Runner`."""

    def __init__(self, bundle: Bundle, options: RunnerOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._plans: dict[str, Plan] = {}
        self._runtime: Any = None
        self._stream: Stream | None = None

    @property
    def model(self) -> ModelSpec:
        return self._bundle.manifest.model

    @cached_property
    def build(self) -> Build:
        return builds.pick(self._bundle, self._options, forms=("tensorrt", "tensorrt_rtx"))

    def open(self) -> None:
        try:
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
        self._stream = Stream(load_cuda())
        self._runtime, _, errors = started(library, "Runtime")
        for graph in GRAPH_NAMES:
            self._plans[graph] = self._load(graph, library.__version__, errors)

    def _load(self, graph: str, version: str, errors: list[str]) -> Plan:
        assert self._stream is not None
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
        plan = Plan(graph, engine, self._stream, errors)
        if graph == "prompt_decoder":
            _check_reach(spec, plan.profiles)
        return plan

    def close(self) -> None:
        self._plans.clear()
        self._runtime = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        energy = self._plans["energy_encoder"].run({"image": images})
        return EncodedBatch(
            embedding=self._plans["image_encoder"].run({"image": images})["embedding"],
            energy_query=energy["energy_query"],
            attention=energy["attention"],
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
        answers = self._plans["prompt_decoder"].run(
            {
                "embedding": embedding,
                "energy_query": energy_query,
                "image_index": image_index,
                "point_coords": coords,
                "point_labels": labels,
                "mask_input": mask_input,
                "has_mask_input": has_mask_input,
            }
        )
        return DecodedBatch(
            logits=answers["low_res_logits"],
            iou=answers["iou"],
            category_logits=answers.get("category_logits"),
        )


def _check_reach(spec: GraphSpec, profiles: Sequence[Profile]) -> None:
    shapes = {
        tensor.name: tuple(REACH[n] if isinstance(n, str) else n for n in tensor.shape)
        for tensor in spec.inputs
    }
    try:
        fitting(shapes, profiles)
    except InvalidInputError as error:
        raise BundleError(f"{spec.file}: {error}; export the bundle again") from error
