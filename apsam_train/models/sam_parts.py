"""The parts of `segment_anything` we compose, importable where torchvision's operators are not.

`segment_anything` imports torchvision, and torchvision registers fake kernels for its compiled
operators at import time. Beside a CPU-only torch those operators cannot load and the import dies
with "operator torchvision::nms does not exist". Declaring the two schemas first lets the import
pass; nothing here ever calls them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch


def _declare_missing_operators() -> None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(str(Path(spec.origin).with_name("_C.so")))  # type: ignore[no-untyped-call]
    except OSError:
        torch.library.define("torchvision::nms", "(Tensor boxes, Tensor scores, float t) -> Tensor")
        torch.library.define(
            "torchvision::qnms", "(Tensor boxes, Tensor scores, float t) -> Tensor"
        )


_declare_missing_operators()

from segment_anything.modeling import (  # noqa: E402
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.modeling.common import LayerNorm2d  # noqa: E402
from segment_anything.modeling.image_encoder import (  # noqa: E402
    Block,
    window_partition,
    window_unpartition,
)

__all__ = [
    "Block",
    "ImageEncoderViT",
    "LayerNorm2d",
    "MaskDecoder",
    "PromptEncoder",
    "Sam",
    "TwoWayTransformer",
    "window_partition",
    "window_unpartition",
]
