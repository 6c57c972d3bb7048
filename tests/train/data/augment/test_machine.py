"""Noise, lines, sharpness and JPEG: what they change, and what they leave."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_train.data.augment.machine import (
    random_jpeg,
    random_lines,
    random_noise,
    random_sharpness,
)


def grey(level: int, height: int = 200, width: int = 240) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def test_noise_grows_with_darkness_and_spares_the_white_belt() -> None:
    spreads = np.array(
        [
            [random_noise(grey(level), np.random.default_rng(seed)).std() for level in (60, 160)]
            for seed in range(20)
        ]
    )
    assert (spreads[:, 0] >= spreads[:, 1]).all()
    assert spreads[:, 0].max() > 10
    assert spreads[:, 0].min() < 1
    assert (random_noise(grey(255), np.random.default_rng(0)) == 255).all()


def test_noise_does_not_change_the_mean() -> None:
    for seed in range(10):
        assert random_noise(grey(120), np.random.default_rng(seed)).mean() == pytest.approx(
            120, abs=1
        )


def test_noise_covers_pictures_larger_than_its_sheet() -> None:
    noisy = random_noise(grey(60, 800, 1600), np.random.default_rng(2))
    assert noisy.shape == (800, 1600, 3)
    assert noisy[:, -100:].std() == pytest.approx(noisy[:, :100].std(), rel=0.2)


def test_lines_run_through_the_whole_picture_along_one_axis() -> None:
    axes = set()
    for seed in range(20):
        lined = random_lines(grey(200), np.random.default_rng(seed)).astype(int)
        constant = [axis for axis in (0, 1) if (np.ptp(lined, axis=axis) == 0).all()]
        assert constant
        axes.update(constant)
        assert lined.max() <= 200
    assert axes == {0, 1}


def test_sharpness_changes_edges_both_ways_and_nothing_else() -> None:
    edge = grey(200)
    edge[:, 120:] = 80
    steps = []
    for seed in range(40):
        after = random_sharpness(edge, np.random.default_rng(seed)).astype(int)
        assert (after[:, :110] == 200).all()
        assert (after[:, 130:] == 80).all()
        steps.append(after[0, 119, 0] - after[0, 120, 0])
    assert min(steps) < 100
    assert max(steps) > 160


def test_jpeg_keeps_the_colours_and_loses_detail() -> None:
    blue = grey(0)
    blue[:] = (40, 90, 210)
    for seed in range(10):
        read = random_jpeg(blue, np.random.default_rng(seed))
        assert np.abs(read.astype(int) - blue).max() <= 4
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (random_jpeg(noise, np.random.default_rng(0)) != noise).mean() > 0.5
