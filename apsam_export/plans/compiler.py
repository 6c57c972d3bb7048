"""One ONNX graph through the compiler of TensorRT or TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsam_export.errors import PlanError
from apsam_export.plans.cache import PlanCache, key_of
from apsam_export.plans.profiles import Profile
from apsam_export.request import PlanForm
from apsam_serve.contract.manifest import GraphSpec, ModelSpec, Precision
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.ops.plans import Declared, declared, load_library, started
from apsam_serve.runtime import signature

FLAGS = ("strongly typed", "no TF32", "memory of the caller's (RTX)")
"""What a graph declares FP32 is computed in FP32, and nothing else is chosen by the compiler."""
_ALWAYS_TYPED: dict[PlanForm, int] = {"tensorrt": 11, "tensorrt_rtx": 2}
"""First major version whose networks are strongly typed without being asked; every release 1 of
TensorRT-RTX takes the flag."""
_OTHERWISE = "install another version of the library, or export without its plans"
_NOT_TARGETS = {"NONE", "CURRENT", "SM75"}
"""Turing (SM75) multiplies no FP32 matrices in TensorRT-RTX, and the graphs hold some."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiler:
    """library: the module; target: what its plans run on, {"gpu", "compute_capability"} of this
    machine's, or {"compute_capabilities"} of a portable plan."""

    form: PlanForm
    library: Any
    target: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.library.__version__)

    @classmethod
    def open(cls, form: PlanForm) -> Compiler:
        """Raises PlanError saying what is missing and how to install it."""
        try:
            library = load_library(form)
            target = _portable(library) if form == "tensorrt_rtx" else describe_gpu(load_cuda())
        except BackendUnavailableError as error:
            raise PlanError(f"no {form} plans can be compiled: {error}") from error
        return cls(form=form, library=library, target=target)

    def compile(
        self,
        file: Path,
        *,
        graph: str,
        spec: GraphSpec,
        model: ModelSpec,
        precision: Precision,
        profiles: Sequence[Profile],
        cache: PlanCache,
    ) -> bytes:
        """The plan of a graph's ONNX file. Raises PlanError with the compiler's log, BundleError
        for tensors that are not the contract's."""
        library = self.library
        try:
            builder, logger, errors = started(library, "Builder")
        except BackendUnavailableError as error:
            raise PlanError(f"{file.name} is not compiled by {self}: {error}") from error
        network = builder.create_network(self.creation_flags())
        parser = library.OnnxParser(network, logger)
        if not parser.parse_from_file(str(file)):
            raise PlanError(
                f"{file.name} is not understood by {self}: {_refused(parser)}; {_OTHERWISE}"
            )
        inputs = _tensors([network.get_input(i) for i in range(network.num_inputs)])
        outputs = _tensors([network.get_output(i) for i in range(network.num_outputs)])
        signature.check(graph, spec, model, precision, inputs=inputs, outputs=outputs)
        config = self._config(builder)
        for profile in profiles:
            config.add_optimization_profile(_profile(builder, profile, spec))
        timings = self._timings(config, cache)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise PlanError(
                f"{file.name} is not compiled by {self}: {'; '.join(errors)}; {_OTHERWISE}"
            )
        if timings:
            cache.store(timings, bytes(config.get_timing_cache().serialize()))
        return bytes(plan)

    def creation_flags(self) -> int:
        """What makes a network strongly typed; later versions of both libraries do so by
        themselves, and ignore or lack the flag."""
        if int(self.version.split(".")[0]) >= _ALWAYS_TYPED[self.form]:
            return 0
        return 1 << int(self.library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def __str__(self) -> str:
        return f"{self.form} {self.version}"

    def _config(self, builder: Any) -> Any:
        config = builder.create_builder_config()
        config.clear_flag(self.library.BuilderFlag.TF32)
        if self.form == "tensorrt_rtx":
            # Or its plans cannot be recorded as CUDA graphs.
            config.set_flag(self.library.BuilderFlag.REQUIRE_USER_ALLOCATION)
        names = self.target.get("compute_capabilities", [])
        if names:
            config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            capability = self.library.ComputeCapability.__members__[name.upper().replace("_", "")]
            config.set_compute_capability(capability, index)
        return config

    def _timings(self, config: Any, cache: PlanCache) -> str:
        """Give the compiler what was timed before; the key to keep it under, "" for TensorRT-RTX,
        which times nothing."""
        if self.form == "tensorrt_rtx":
            return ""
        key = key_of({"timings": self.form, "version": self.version, "target": self.target})
        for known in (cache.load(key) or b"", b""):  # refused when the driver has changed, say
            timings = config.create_timing_cache(known)
            if timings is not None and config.set_timing_cache(timings, False):
                break
        return key


def _portable(library: Any) -> dict[str, Any]:
    known = [name for name in library.ComputeCapability.__members__ if name not in _NOT_TARGETS]
    return {"compute_capabilities": [name.lower().replace("sm", "sm_") for name in known]}


def _tensors(tensors: Sequence[Any]) -> Declared:
    return {tensor.name: declared(tensor.dtype, tensor.shape) for tensor in tensors}


def _profile(builder: Any, profile: Profile, spec: GraphSpec) -> Any:
    made = builder.create_optimization_profile()
    for tensor in spec.inputs:
        shapes = (
            tuple(getattr(profile[n], end) if isinstance(n, str) else n for n in tensor.shape)
            for end in ("least", "usual", "most")
        )
        made.set_shape(tensor.name, *shapes)
    return made


def _refused(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return "; ".join(
        f"{error.node_operator()} {error.node_name()!r}: {error.desc()}" for error in errors
    )
