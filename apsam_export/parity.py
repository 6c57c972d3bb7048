"""The gate: a built bundle must compute what the checkpoint computes, in numbers and in masks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_export.errors import ParityError
from apsam_export.samples import sample
from apsam_serve.contract.masks import mask_from_logits, mask_iou
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.contract.prompts import DecoderBatch, to_decoder
from apsam_serve.prompting.base import DecoderOutput
from apsam_serve.runtime.base import Runner
from apsam_train.models import APSAM

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """max_difference: largest |difference| of a tensor over the largest |value| of the reference;
    min_mask_iou: of the chosen masks at image size."""

    max_difference: float = 1e-3
    min_mask_iou: float = 0.99


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of one tensor over all samples, relative to the reference's largest value."""

    max: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What parity.json holds. flips: share of prompts whose best-of-four choice differs."""

    tensors: dict[str, Difference]
    mask_iou_min: float
    mask_iou_mean: float
    flips: float
    num_images: int
    num_prompts: int
    thresholds: Thresholds

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(model: APSAM, runner: Runner, *, num_images: int = 6) -> Report:
    """Run model and runner on the fixed samples, prompt by prompt.

    Tensors of the decoder are compared on the model's own embedding, so that neither graph's error
    hides behind the other's; masks are compared through each side's own encoder, as a user gets
    them.
    """
    reference, built = ModelSide(model), RunnerSide(runner)
    pairs: dict[str, list[tuple[Floats, Floats]]] = {}
    ious: list[float] = []
    flips: list[bool] = []
    for number in range(num_images):
        picture, prompts = sample(number, side=model.preset.side)
        image, frame = letterbox(picture, side=model.preset.side)
        encoded, encoded_built = reference.encode(image), built.encode(image)
        _collect(pairs, encoded, encoded_built)
        for prompt in prompts:
            batch = DecoderBatch.of([to_decoder(prompt, frame)], mask_side=frame.mask_side)
            ours, on_ours = reference.decode(encoded, batch), built.decode(encoded, batch)
            theirs = built.decode(encoded_built, batch)
            _collect(pairs, _tensors(ours), _tensors(on_ours))
            flips.append(int(ours.iou.argmax()) != int(theirs.iou.argmax()))
            masks = [mask_from_logits(output.best()[0], frame) for output in (ours, theirs)]
            ious.append(mask_iou(*masks))
    return Report(
        tensors={name: _difference(values) for name, values in pairs.items()},
        mask_iou_min=min(ious),
        mask_iou_mean=float(np.mean(ious)),
        flips=float(np.mean(flips)),
        num_images=num_images,
        num_prompts=len(ious),
        thresholds=Thresholds(),
    )


def check(report: Report) -> None:
    """Raise ParityError when a figure is worse than its threshold (NaN is worse than all)."""
    limits = report.thresholds
    for name, difference in report.tensors.items():
        if not difference.max <= limits.max_difference:
            raise ParityError(
                f"{name} differs from the checkpoint by {difference.max:.2e} of its largest value; "
                f"at most {limits.max_difference:.0e} is accepted; the bundle was not written"
            )
    if not report.mask_iou_min >= limits.min_mask_iou:
        raise ParityError(
            f"the worst mask agrees with the checkpoint's by IoU {report.mask_iou_min:.4f}; "
            f"at least {limits.min_mask_iou} is required; the bundle was not written"
        )


class ModelSide:
    """The checkpoint: PyTorch, FP32."""

    def __init__(self, model: APSAM) -> None:
        self._model = model

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> dict[str, Floats]:
        """Outputs of both encoders for a frame uint8 [S, S, 3], by name."""
        batch = torch.from_numpy(image)[None]
        query, attention = self._model.encode_energy(batch)
        tensors = {"embedding": self._model.encode_image(batch), "energy_query": query}
        return {name: t.numpy() for name, t in (tensors | {"attention": attention}).items()}

    @torch.no_grad()
    def decode(self, encoded: dict[str, Floats], batch: DecoderBatch) -> DecoderOutput:
        """The answer to a batch of one prompt."""
        decoded = self._model.decode(
            embedding=torch.from_numpy(encoded["embedding"]),
            energy_query=torch.from_numpy(encoded["energy_query"]),
            image_index=torch.zeros(1, dtype=torch.int64),
            point_coords=torch.from_numpy(batch.coords),
            point_labels=torch.from_numpy(batch.labels),
            mask_input=torch.from_numpy(batch.mask_input),
            has_mask_input=torch.from_numpy(batch.has_mask_input),
        )
        category = decoded.category_logits
        return DecoderOutput(
            logits=decoded.logits[0].numpy(),
            iou=decoded.iou[0].numpy(),
            category_logits=None if category is None else category[0].numpy(),
        )


class RunnerSide:
    """The built graphs."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def encode(self, image: NDArray[np.uint8]) -> dict[str, Floats]:
        """As `ModelSide.encode`."""
        batch = self._runner.encode(image[None])
        return {
            "embedding": batch.embedding,
            "energy_query": batch.energy_query,
            "attention": batch.attention,
        }

    def decode(self, encoded: dict[str, Floats], batch: DecoderBatch) -> DecoderOutput:
        """As `ModelSide.decode`."""
        decoded = self._runner.decode(
            embedding=encoded["embedding"],
            energy_query=encoded["energy_query"],
            image_index=np.zeros(1, np.int64),
            coords=batch.coords,
            labels=batch.labels,
            mask_input=batch.mask_input,
            has_mask_input=batch.has_mask_input,
        )
        (output,) = DecoderOutput.split(
            logits=decoded.logits, iou=decoded.iou, category_logits=decoded.category_logits
        )
        return output


def _tensors(output: DecoderOutput) -> dict[str, Floats]:
    tensors = {"low_res_logits": output.logits, "iou": output.iou}
    if output.category_logits is not None:
        tensors["category_logits"] = output.category_logits
    return tensors


def _collect(
    pairs: dict[str, list[tuple[Floats, Floats]]],
    reference: dict[str, Floats],
    built: dict[str, Floats],
) -> None:
    assert reference.keys() == built.keys(), (list(reference), list(built))
    for name, tensor in reference.items():
        pairs.setdefault(name, []).append((tensor, built[name]))


def _difference(pairs: list[tuple[Floats, Floats]]) -> Difference:
    scale = max(float(np.abs(reference).max()) for reference, _ in pairs) or 1.0
    gaps = [np.abs(reference - built) / scale for reference, built in pairs]
    return Difference(
        max=float(np.max([gap.max() for gap in gaps])),
        mean=float(np.mean([gap.mean() for gap in gaps])),
    )
