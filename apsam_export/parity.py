"""The gate: a built bundle must compute what the checkpoint computes, in numbers and in masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_export.errors import ParityError
from apsam_export.samples import sample
from apsam_serve.contract.masks import mask_from_logits, mask_iou
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import DecoderBatch, DecoderPrompt, to_decoder
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
    """Run model and runner on the fixed samples. Both decode the model's own embedding too, so that
    a decoder error cannot hide behind an encoder error."""
    pairs: dict[str, list[tuple[Floats, Floats]]] = {}
    ious: list[float] = []
    flips: list[bool] = []
    for frame, image, prompts in _samples(model, num_images):
        for name, reference, built in _tensors(model, runner, image, prompts):
            pairs.setdefault(name, []).append((reference, built))
        for reference, built in _answers(model, runner, image, prompts):
            ours, theirs = built.best(), reference.best()
            flips.append(int(built.iou.argmax()) != int(reference.iou.argmax()))
            masks = [mask_from_logits(logits, frame) for logits, _ in (ours, theirs)]
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


def _samples(
    model: APSAM, num_images: int
) -> Iterator[tuple[LetterBox, NDArray[np.uint8], list[DecoderPrompt]]]:
    for number in range(num_images):
        picture, prompts = sample(number, side=model.preset.side)
        image, frame = letterbox(picture, side=model.preset.side)
        yield frame, image, [to_decoder(prompt, frame) for prompt in prompts]


@torch.no_grad()
def _reference_encode(model: APSAM, image: NDArray[np.uint8]) -> dict[str, Floats]:
    batch = torch.from_numpy(image)[None]
    query, attention = model.encode_energy(batch)
    embedding = model.encode_image(batch)
    return {
        "embedding": embedding.numpy(),
        "energy_query": query.numpy(),
        "attention": attention.numpy(),
    }


@torch.no_grad()
def _reference_decode(
    model: APSAM, encoded: dict[str, Floats], batch: DecoderBatch
) -> tuple[Floats, Floats]:
    logits, iou = model.decode(
        embedding=torch.from_numpy(encoded["embedding"]),
        energy_query=torch.from_numpy(encoded["energy_query"]),
        image_index=torch.zeros(len(batch.coords), dtype=torch.int64),
        point_coords=torch.from_numpy(batch.coords),
        point_labels=torch.from_numpy(batch.labels),
        mask_input=torch.from_numpy(batch.mask_input),
        has_mask_input=torch.from_numpy(batch.has_mask_input),
    )
    return logits.numpy(), iou.numpy()


def _runner_decode(
    runner: Runner, encoded: dict[str, Floats], batch: DecoderBatch
) -> tuple[Floats, Floats]:
    return runner.decode(
        embedding=encoded["embedding"],
        energy_query=encoded["energy_query"],
        image_index=np.zeros(len(batch.coords), np.int64),
        coords=batch.coords,
        labels=batch.labels,
        mask_input=batch.mask_input,
        has_mask_input=batch.has_mask_input,
    )


def _runner_encode(runner: Runner, image: NDArray[np.uint8]) -> dict[str, Floats]:
    batch = runner.encode(image[None])
    return {
        "embedding": batch.embedding,
        "energy_query": batch.energy_query,
        "attention": batch.attention,
    }


def _tensors(
    model: APSAM, runner: Runner, image: NDArray[np.uint8], prompts: list[DecoderPrompt]
) -> Iterator[tuple[str, Floats, Floats]]:
    """(name, reference, built) of every output, the decoder fed with the reference's embedding."""
    reference, built = _reference_encode(model, image), _runner_encode(runner, image)
    for name in reference:
        yield name, reference[name], built[name]
    for prompt in prompts:
        batch = DecoderBatch.of([prompt], mask_side=model.preset.spec.mask_side)
        pair = zip(
            _reference_decode(model, reference, batch),
            _runner_decode(runner, reference, batch),
            strict=True,
        )
        for name, (ours, theirs) in zip(("low_res_logits", "iou"), pair, strict=True):
            yield name, ours, theirs


def _answers(
    model: APSAM, runner: Runner, image: NDArray[np.uint8], prompts: list[DecoderPrompt]
) -> Iterator[tuple[DecoderOutput, DecoderOutput]]:
    """(reference, built) of every prompt, each through its own encoder: what a user would get."""
    reference, built = _reference_encode(model, image), _runner_encode(runner, image)
    for prompt in prompts:
        batch = DecoderBatch.of([prompt], mask_side=model.preset.spec.mask_side)
        outputs = [
            DecoderOutput(logits=logits[0], iou=iou[0])
            for logits, iou in (
                _reference_decode(model, reference, batch),
                _runner_decode(runner, built, batch),
            )
        ]
        yield outputs[0], outputs[1]


def _difference(pairs: list[tuple[Floats, Floats]]) -> Difference:
    scale = max(float(np.abs(reference).max()) for reference, _ in pairs) or 1.0
    gaps = [np.abs(reference - built) / scale for reference, built in pairs]
    return Difference(
        max=float(np.max([gap.max() for gap in gaps])),
        mean=float(np.mean([gap.mean() for gap in gaps])),
    )
