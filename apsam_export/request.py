"""What an export is asked for beside the FP32 graphs that every bundle has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apsam_serve.contract.manifest import Precision

PlanForm = Literal["tensorrt", "tensorrt_rtx"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """twins: typed ONNX graphs in these precisions; plans: compiled by these libraries from every
    twin, FP16 where no other was asked for; kernels: GPU architectures ("sm_89"); plan_cache:
    folder of plans and timings that are used again, None for the user's cache folder; sign_with:
    private key (PEM) that signs the bundle."""

    twins: tuple[Precision, ...] = ()
    plans: tuple[PlanForm, ...] = ()
    kernels: tuple[str, ...] = ()
    plan_cache: Path | None = None
    sign_with: Path | None = None
