"""A checkpoint's category head from inside: its hidden activations and all its logits.

The Segmenter protocol answers one name; comparing heads and questioning labels takes more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsam_serve.contract.prompts import MAX_PROMPTS, Prompt
from apsam_serve.contract.segmenter import EncodedImage
from apsam_train.checkpoint import load_checkpoint
from apsam_train.labels.answers import no_head
from apsam_train.models.category_head import CategoryHead
from apsam_train.segmenter import TorchSegmenter


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadOutput:
    """P prompts. hidden: float32 [P, C], the head's activation after GELU; logits: float32 [P, 31]
    of `categories.CLASSES`."""

    hidden: NDArray[np.float32]
    logits: NDArray[np.float32]


class HeadReader:
    """Encodes images and reads what the head makes of prompts on them."""

    def __init__(self, path: Path, *, sam: Path | None = None) -> None:
        """sam: the SAM file of a delta. Raises CheckpointError, and ConfigError for a checkpoint
        without a head."""
        model, self.card = load_checkpoint(path, sam=sam)
        if model.category_head is None:
            raise no_head(str(path))
        self._head: CategoryHead = model.category_head
        self._segmenter = TorchSegmenter(model.to("cuda" if torch.cuda.is_available() else "cpu"))

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Encode an RGB image uint8 [H, W, 3], for `read`."""
        return self._segmenter.encode(image)

    def read(self, encoded: EncodedImage, prompts: Sequence[Prompt]) -> HeadOutput:
        """One decode of every prompt, in order. All prompts must have the same number of points,
        and all or none of them a box: then they share their decodes."""
        hidden: list[Tensor] = []
        logits: list[Tensor] = []
        hooks = [_keep(self._head.layers[1], hidden), _keep(self._head.layers, logits)]
        try:
            for first in range(0, len(prompts), MAX_PROMPTS):
                encoded.segment(prompts[first : first + MAX_PROMPTS], strategy="direct")
        finally:
            for hook in hooks:
                hook.remove()
        output = HeadOutput(hidden=_joined(hidden), logits=_joined(logits))
        assert len(output.logits) == len(prompts)
        return output


def _keep(module: nn.Module, outputs: list[Tensor]) -> torch.utils.hooks.RemovableHandle:
    """Append what a module computes to `outputs` until the handle is removed."""

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output.detach())

    return module.register_forward_hook(hook)


def _joined(parts: Sequence[Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(parts)).float().cpu().numpy()
    return joined
