"""What every back end offers, and how one is found by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Build, Bundle, ModelSpec
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.memory import Device, DeviceArray

_NOT_BACKENDS = {"base", "builds", "devices", "kernel_cache", "sessions", "signature"}

Floats = NDArray[np.float32]
Held = NDArray[np.floating[Any]]
"""What is kept of an image, in the build's own type: float32, or float16."""


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """threads: CPU threads inside one graph call, 0 for one per core; device: "cpu", or "cuda"
    where the back end has it; build: which build of the bundle, "" for the back end's first;
    allow_unverified: run it even if it has not passed its gate; on_device: keep embeddings in the
    device's memory and run the kernels there, as the service does, where the device has memory of
    its own; cache: folder for what a back end may keep from one start to the next, None for none.
    """

    threads: int = 0
    device: str = "cpu"
    build: str = ""
    allow_unverified: bool = False
    on_device: bool = False
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedBatch:
    """embedding: [B, C, G, G]; energy_query: [B, C]; attention: float32 [B, S/8, S/8], where the
    energy branch looked; timings_s: seconds of the stages "encode" and "energy", copies included.
    """

    embedding: Held
    energy_query: Held
    attention: Floats
    timings_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedBatch:
    """logits: float32 [P, M, L, L]; iou: float32 [P, M]; category_logits: float32
    [P, 1 + num_categories], None from a model without a category head."""

    logits: Floats
    iou: Floats
    category_logits: Floats | None = None


class Runner(Protocol):
    """Runs the graphs. Touches neither files nor devices before `open`; one thread at a time uses
    it, and need not be the one that opened it."""

    @property
    def model(self) -> ModelSpec:
        """The shapes of the bundle's model."""
        ...

    @property
    def build(self) -> Build:
        """What is run of the bundle. Raises what `builds.pick` raises."""
        ...

    @property
    def device(self) -> Device | None:
        """The device whose memory the graphs read and write, or None where that is the host's, and
        for a runner that is not open or was opened without `on_device`. A runner with a device is a
        DeviceRunner."""
        ...

    def open(self) -> None:
        """Load the graphs. Raises BackendUnavailableError, BundleError or OutOfMemoryError."""
        ...

    def close(self) -> None:
        """Free everything; harmless when closed already."""
        ...

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        """Encode letter-boxed images uint8 [B, S, S, 3]: pseudo-colour for the image encoder, and
        what the energy encoder looks at, None for the same (`contract.inputs.Pixels`).

        Raises OutOfMemoryError or DeviceFaultError, as does `decode`.
        """
        ...

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
        """Decode P prompts over B images.

        embedding [B, C, G, G]; energy_query [B, C]; image_index int64 [P], the image of each
        prompt; coords [P, N, 2] in model pixels (x, y); labels [P, N], see `PointLabel`;
        mask_input [P, 1, L, L]; has_mask_input [P], 1 or 0.
        """
        ...


class DeviceRunner(Runner, Protocol):
    """A runner whose graphs read and write a device's memory."""

    @property
    def replayable(self) -> bool:
        """Whether `enqueue` may be recorded by `Device.replay`; if not, it records by itself."""
        ...

    def enqueue(
        self, graph: str, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]
    ) -> None:
        """Queue a graph (one of `GRAPH_NAMES`) on the device, by the contract's tensor names and
        types, and return. Outputs that are not named are not kept.

        Raises InvalidInputError for shapes that the build does not take.
        """
        ...


Create = Callable[[Bundle, RunnerOptions], Runner]
"""Each back end's file has `create(bundle, options)`; it returns a runner that is not open yet."""


def names() -> list[str]:
    """The back ends of this release, whether or not this machine can run them."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in _NOT_BACKENDS)


def load(name: str) -> Create:
    """The back end of that name, imported now. Raises BackendUnavailableError listing all."""
    if name not in names():
        raise BackendUnavailableError(
            f"back end {name!r} is unknown; choose one of {', '.join(names())}"
        )
    try:
        module = importlib.import_module(f"apsam_serve.runtime.{name}")
    except ImportError as error:
        raise BackendUnavailableError(
            f"back end {name!r} cannot be imported here ({error}); install apsam[serve] for "
            f"onnxruntime, or choose one of {', '.join(names())}"
        ) from error
    return cast(Create, module.create)
