"""What every back end offers, and how one is found by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Build, Bundle, ModelSpec
from apsam_serve.errors import BackendUnavailableError

_NOT_BACKENDS = {"base", "builds", "signature"}

Floats = NDArray[np.float32]
Held = NDArray[np.floating[Any]]
"""What is kept of an image, in the build's own type: float32, or float16."""


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """threads: CPU threads inside one graph call, 0 for one per core; device: "cpu", or "cuda"
    where the back end has it; build: which build of the bundle, "" for the back end's first;
    allow_unverified: run it even if it has not passed its gate."""

    threads: int = 0
    device: str = "cpu"
    build: str = ""
    allow_unverified: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedBatch:
    """embedding: [B, C, G, G]; energy_query: [B, C]; attention: float32 [B, S/8, S/8], where the
    energy branch looked."""

    embedding: Held
    energy_query: Held
    attention: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedBatch:
    """logits: float32 [P, M, L, L]; iou: float32 [P, M]; category_logits: float32
    [P, 1 + num_categories], None from a model without a category head."""

    logits: Floats
    iou: Floats
    category_logits: Floats | None = None


class Runner(Protocol):
    """Runs the graphs. Touches neither files nor devices before `open`; one thread uses it."""

    @property
    def model(self) -> ModelSpec:
        """The shapes of the bundle's model."""
        ...

    @property
    def build(self) -> Build:
        """What is run of the bundle. Raises what `builds.pick` raises."""
        ...

    def open(self) -> None:
        """Load the graphs. Raises BackendUnavailableError or BundleError."""
        ...

    def close(self) -> None:
        """Free everything; harmless when closed already."""
        ...

    def encode(self, images: NDArray[np.uint8]) -> EncodedBatch:
        """Encode letter-boxed RGB images uint8 [B, S, S, 3]."""
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
