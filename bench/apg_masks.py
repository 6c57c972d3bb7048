"""Masks as decoders give them, at low resolution, for the benchmark of adaptive points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.synth.generator import generate

SIDE = 128
OBJECTS = "objects, 1 to 20 %"
IN_BAGS = "objects of synthetic bags"
_FINENESS = 4

Logits = NDArray[np.float32]


def mask_sets(num_masks: int, *, seed: int = 7) -> Mapping[str, list[Logits]]:
    """Sets of logits float32 [128, 128], the same for the same seed. Shares are of the grid, drawn
    evenly; those of the bags are as they come, from 1 % up."""
    ranges = {OBJECTS: (0.01, 0.2), "large, 20 to 50 %": (0.2, 0.5)}
    sets = {
        name: [outline(share, (seed, number)) for number in range(num_masks)]
        for name, share in ranges.items()
    }
    sets["noisy"] = [noisy(logits, (seed, number)) for number, logits in enumerate(sets[OBJECTS])]
    in_bags = objects_of_bags(seed)
    sets[IN_BAGS] = [next(in_bags) for _ in range(num_masks)]
    return sets


def outline(share: tuple[float, float], seed: tuple[int, ...]) -> Logits:
    """One object with a smooth random outline, up to six times as long as wide."""
    rng = np.random.default_rng(seed)
    cells = SIDE * SIDE * rng.uniform(*share)
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    while True:
        waves = np.arange(2, 6)[:, None]
        bumps = rng.normal(scale=0.3, size=waves.shape) / waves
        radius = 1 + (bumps * np.cos(waves * angles + rng.uniform(0, 2 * np.pi, waves.shape))).sum(
            0
        )
        stretch, turn = np.sqrt(rng.uniform(1, 6)), rng.uniform(0, np.pi)
        spots = np.stack([radius * np.cos(angles) * stretch, radius * np.sin(angles) / stretch])
        spots = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ spots
        area = cv2.contourArea(spots.T.astype(np.float32))
        spots *= np.sqrt(cells / area)
        room = SIDE - np.ptp(spots, axis=1)
        if (room >= 0).all():
            spots += (rng.uniform(0, room) - spots.min(axis=1))[:, None]
            return _logits(_filled(spots))


def noisy(logits: Logits, seed: tuple[int, ...]) -> Logits:
    """The same object as an unsure model sees it: a ragged edge, holes, and specks beside it."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=logits.shape), (0, 0), 1)
    edge = cv2.GaussianBlur(logits, (0, 0), 2)
    return np.asarray(edge + 1.6 * noise / noise.std(), np.float32)


def objects_of_bags(seed: int) -> Iterator[Logits]:
    """The visible part of every object of 1 % and more, bag after bag, without end."""
    index = 0
    while True:
        for one in generate(seed=seed, index=index).instances:
            logits = _logits(one.mask)
            if (logits > 0).mean() >= 0.01:
                yield logits
        index += 1


def _filled(spots: NDArray[np.float64]) -> NDArray[np.bool_]:
    """A polygon [2, N] in cells, as a finer mask."""
    fine = np.zeros((SIDE * _FINENESS, SIDE * _FINENESS), np.uint8)
    cv2.fillPoly(fine, [np.round(spots.T * _FINENESS).astype(np.int32)], (1,))
    return fine > 0


def _logits(mask: NDArray[np.bool_]) -> Logits:
    """Foreground where at least half of a cell is."""
    cells = cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.where(cells >= 0.5, np.float32(4), np.float32(-4))
