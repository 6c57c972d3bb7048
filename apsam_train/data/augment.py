"""Random views of a sample: a belt has no preferred direction, and makers differ in colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.data.sample import Instance, Sample


def random_view(sample: Sample, rng: np.random.Generator) -> Sample:
    """Flip, turn by quarters, crop, and vary brightness and contrast; masks follow."""
    image, masks = sample.image, [instance.mask for instance in sample.instances]
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], [mask[:, ::-1] for mask in masks]
    turns = int(rng.integers(4))
    image, masks = np.rot90(image, turns), [np.rot90(mask, turns) for mask in masks]
    window = _random_window(image.shape[:2], rng)
    image, masks = image[window], [mask[window] for mask in masks]
    instances = tuple(
        Instance(category=old.category, mask=np.ascontiguousarray(mask), overlap=old.overlap)
        for old, mask in zip(sample.instances, masks, strict=True)
        if mask.sum() >= max(16, 0.3 * old.mask.sum())
    )
    if not instances:
        return sample
    return Sample(name=sample.name, image=_random_tone(image, rng), instances=instances)


def _random_window(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """A window of 60 to 100 per cent of each side; half the time the whole image."""
    if rng.random() < 0.5:
        return slice(None), slice(None)
    spans = []
    for length in shape:
        kept = int(length * rng.uniform(0.6, 1.0))
        start = int(rng.integers(length - kept + 1))
        spans.append(slice(start, start + kept))
    return spans[0], spans[1]


def _random_tone(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma and white level per channel within what scanners of several makers show."""
    gamma = rng.uniform(0.8, 1.25)
    white = rng.uniform(0.9, 1.0) * rng.uniform(0.97, 1.0, size=3)
    levels = (np.arange(256) / 255) ** gamma
    table = (levels[:, None] * white * 255).round().astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table[None]).astype(np.uint8, copy=False)
