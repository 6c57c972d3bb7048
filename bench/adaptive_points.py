"""Other ways to place the second decode's points, on a trained checkpoint.

    python -m bench.adaptive_points CHECKPOINT --data DIR

The paper takes the farthest pair between two clusters of the first mask. This prints the mean IoU
of that and of alternatives, for one random click per object, and the share of the objects that all
points lie on. Nothing is trained for the alternatives: a figure is a hint, not a verdict.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgResult, adaptive_points
from apsam_serve.contract.masks import mask_from_logits, mask_iou
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import DecoderBatch, decoder_points
from apsam_serve.progress import Progress
from apsam_train.checkpoint import load_checkpoint
from apsam_train.data.dataset import usable_samples
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.models import APSAM

Points = NDArray[np.float64]


PAPER = "farthest pair (paper)"
CORES = (1.0, 2.0, 4.0)
"""Logits that a pixel of the mask's core exceeds; the mask itself is all above 0."""


def alternatives(
    click: Points, logits: NDArray[np.float32], found: ApgResult, frame: LetterBox
) -> dict[str, Points]:
    """name -> positive points [N, 2] in model pixels; click [1, 2]; logits [L, L] of its mask."""
    pair = found.points.astype(np.float64)
    ways = {"click alone": click, PAPER: pair, "click and pair": np.concatenate([click, pair])}
    for core in CORES:
        inner = adaptive_points(logits - np.float32(core), valid_cells=frame.valid_cells)
        points = inner.points if inner.branch != "empty" else pair
        ways[f"farthest pair of the core above {core:g}"] = points.astype(np.float64)
    if np.isfinite(found.centroids).all():
        for share in (0.25, 0.5):
            moved = pair + share * (found.centroids - pair)
            ways[f"pair moved {share:.0%} to its centroids"] = moved
        ways["centroids"] = found.centroids
        ways["click and centroids"] = np.concatenate([click, found.centroids])
    return ways


class Image:
    """One image encoded by a model."""

    @torch.no_grad()
    def __init__(self, model: APSAM, pixels: NDArray[np.uint8]) -> None:
        self._model = model
        framed, self.frame = letterbox(pixels, side=model.preset.side)
        batch = torch.from_numpy(framed)[None]
        self._embedding = model.encode_image(batch)
        self._query, _ = model.encode_energy(batch)

    @torch.no_grad()
    def decode(self, points: Points) -> tuple[NDArray[np.float32], float]:
        """Logits [L, L] of the mask with the highest predicted IoU, and that IoU."""
        prompt = decoder_points(points, np.ones(len(points)))
        batch = DecoderBatch.of([prompt], mask_side=self.frame.mask_side)
        decoded = self._model.decode(
            embedding=self._embedding,
            energy_query=self._query,
            image_index=torch.zeros(1, dtype=torch.int64),
            point_coords=torch.from_numpy(batch.coords),
            point_labels=torch.from_numpy(batch.labels),
        )
        best = int(decoded.iou[0].argmax())
        return decoded.logits[0, best].numpy(), float(decoded.iou[0, best])


def try_all(
    image: Image, click: Points, truth: NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    """name -> (IoU, 1 where all points lie on the object and 0 elsewhere)."""

    def iou(logits: NDArray[np.float32]) -> float:
        return mask_iou(mask_from_logits(logits, image.frame), truth)

    first, first_score = image.decode(click)
    found = adaptive_points(first, valid_cells=image.frame.valid_cells)
    if found.branch == "empty":
        return {"click alone": (iou(first), 1.0)}
    results = {}
    for name, points in alternatives(click, first, found, image.frame).items():
        logits, predicted = image.decode(points)
        results[name] = iou(logits), all_on(points, image.frame, truth)
        if name == PAPER:
            better = results["click alone"] if predicted < first_score else results[name]
            results["better of click and pair, as predicted"] = better
    return results


def all_on(points: Points, frame: LetterBox, truth: NDArray[np.bool_]) -> float:
    """1 where all points (model pixels) lie on the object, else 0."""
    x, y = frame.to_image(points).astype(int).T
    height, width = truth.shape
    return float(truth[y.clip(0, height - 1), x.clip(0, width - 1)].all())


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--num-images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, _ = load_checkpoint(options.checkpoint)
    source = open_dataset(options.data).evenly(options.num_images)
    results: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with Progress("clicks") as bar:
        for index, sample in usable_samples(source, ProblemLog()):
            image = Image(model, sample.image)
            bar.show((index + 1) / len(source), f"image {index + 1} of {len(source)}")
            for number, instance in enumerate(sample.instances):
                rng = np.random.default_rng([options.seed, index, number])
                (point,) = PROTOCOLS["random1"].make(instance.mask, rng).points
                click = image.frame.to_model(np.array([[point.x, point.y]])).astype(np.float64)
                for name, result in try_all(image, click, instance.mask).items():
                    results[name].append(result)
    print(f"{'second decode on':<42}{'mIoU':>8}{'all on':>8}{'objects':>9}")
    for name, values in results.items():
        miou, on = np.mean(values, axis=0)
        print(f"{name:<42}{miou:8.2%}{on:8.1%}{len(values):9}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
