"""Other ways to place the second decode's points, on a trained checkpoint.

    python -m bench.adaptive_points CHECKPOINT --data DIR

The paper takes the farthest pair between two clusters of the first mask. This prints the mean IoU
of that and of alternatives, for one random click per object, and how often a point lies on the
object. Nothing is trained for the alternatives: a figure here is a hint, not a verdict.
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
from apsam_train.checkpoint import load_checkpoint
from apsam_train.data.dataset import usable_samples
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.models import APSAM

Points = NDArray[np.float64]


def alternatives(click: Points, found: ApgResult) -> dict[str, Points]:
    """name -> positive points [N, 2] in model pixels; click [1, 2]."""
    pair = found.points.astype(np.float64)
    ways = {"farthest pair (paper)": pair, "click and pair": np.concatenate([click, pair])}
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


def ious_of(
    image: Image, click: Points, truth: NDArray[np.bool_]
) -> tuple[dict[str, float], float | None]:
    """IoU by way of asking, and the share of the farthest pair that lies on the object."""

    def iou(logits: NDArray[np.float32]) -> float:
        return mask_iou(mask_from_logits(logits, image.frame), truth)

    first, first_score = image.decode(click)
    found = adaptive_points(first, valid_cells=image.frame.valid_cells)
    ious = {"click alone": iou(first)}
    if found.branch == "empty":
        return ious, None
    for name, points in alternatives(click, found).items():
        logits, predicted = image.decode(points)
        ious[name] = iou(logits)
        if name.startswith("farthest") and predicted < first_score:
            ious["better of click and pair, as predicted"] = ious["click alone"]
        elif name.startswith("farthest"):
            ious["better of click and pair, as predicted"] = ious[name]
    return ious, _share_on(found.points, image.frame, truth)


def _share_on(points: NDArray[np.float32], frame: LetterBox, truth: NDArray[np.bool_]) -> float:
    x, y = frame.to_image(points).astype(int).T
    height, width = truth.shape
    return float(truth[y.clip(0, height - 1), x.clip(0, width - 1)].mean())


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
    all_ious: dict[str, list[float]] = defaultdict(list)
    on_object = []
    for index, sample in usable_samples(source, ProblemLog()):
        image = Image(model, sample.image)
        for number, instance in enumerate(sample.instances):
            rng = np.random.default_rng([options.seed, index, number])
            (point,) = PROTOCOLS["random1"].make(instance.mask, rng).points
            click = image.frame.to_model(np.array([[point.x, point.y]])).astype(np.float64)
            ious, share = ious_of(image, click, instance.mask)
            for name, iou in ious.items():
                all_ious[name].append(iou)
            on_object += [] if share is None else [share]
    for name, values in all_ious.items():
        print(f"{name:<40} {np.mean(values):7.2%}  {len(values)} objects")
    print(f"points of the farthest pair on the object {np.mean(on_object):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
