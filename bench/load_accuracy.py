"""The masks that answers are held against: the model in FP32, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsam_serve.contract.manifest import REFERENCE_BUILD
from apsam_serve.contract.masks import Mask, mask_iou
from apsam_serve.contract.segmenter import EncodedImage, Segmenter
from apsam_serve.local import open_bundle
from apsam_serve.runtime.base import RunnerOptions
from bench.measure.document import MaskIou
from bench.measure.workload import Workload


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """masks: bool [H, W] by click, in the workload's order; name: what made them."""

    masks: Sequence[Mask]
    name: str

    def compare(self, answers: Mapping[int, Sequence[Mask]]) -> MaskIou | None:
        """Every distinct answer to every click; None without any."""
        values = [
            mask_iou(mask, self.masks[click])
            for click, found in sorted(answers.items())
            for mask in found
        ]
        return MaskIou.of(values) if values else None

    @property
    def note(self) -> str:
        """For the row."""
        return f"mask IoU against {self.name}"


def reference(workload: Workload, *, bundle: Path, checkpoint: Path | None) -> Reference:
    """From the checkpoint in PyTorch, or else from the bundle's FP32 build in ONNX Runtime.

    Raises CheckpointError, BundleError or BackendUnavailableError.
    """
    if checkpoint is not None:
        from apsam_train.segmenter import open_checkpoint  # torch, where it is asked for

        segmenter: Segmenter = open_checkpoint(checkpoint)
        name = "the checkpoint in PyTorch, FP32"
    else:
        options = RunnerOptions(build=REFERENCE_BUILD, allow_unverified=True)
        segmenter = open_bundle(bundle, options=options)
        name = "the bundle's FP32 build in ONNX Runtime, in this process"
    masks = _masks(segmenter, workload)
    segmenter.close()
    return Reference(masks=masks, name=name)


def _masks(segmenter: Segmenter, workload: Workload) -> list[Mask]:
    held: dict[int, EncodedImage] = {}
    masks = []
    for number, prompt in workload.clicks:
        if number not in held:
            held[number] = segmenter.encode(workload.images[number])
        (answer,) = held[number].segment([prompt])
        masks.append(answer.mask)
    for image in held.values():
        image.release()
    return masks
