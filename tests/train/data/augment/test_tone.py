"""Other makers' colours: the bands stay the bands, white stays white."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.pseudo_colour import PALETTES
from apsam_train.data.augment.tone import (
    Maker,
    random_belt,
    random_exposure,
    random_maker,
    recolour,
)
from apsam_train.synth.generator import SynthConfig, generate


@pytest.fixture(scope="module", params=sorted(PALETTES))
def bag(request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    config = SynthConfig(side=256, palettes=(request.param,))
    return generate(seed=5, index=1, config=config).rgb


def band(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """0 organic, 1 inorganic, 2 metal, by hue."""
    return np.digitize(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 0], (31, 85))


def test_the_same_maker_leaves_a_picture_as_it_is(bag: NDArray[np.uint8]) -> None:
    white = (bag * (255 / bag.max())).astype(int)
    difference = np.abs(recolour(bag, Maker()).astype(int) - white)
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) <= 6


def test_any_makers_orange_is_orange_green_green_and_blue_blue(bag: NDArray[np.uint8]) -> None:
    before, coloured = band(bag), np.ptp(bag, axis=2) > 60
    for seed in range(20):
        maker = replace(random_maker(np.random.default_rng(seed)), vividness=1.0)
        after = recolour(bag, maker)
        kept = coloured & (np.ptp(after, axis=2) > 40)
        assert (band(after)[kept] == before[kept]).mean() > 0.93


def test_makers_cover_the_hues_of_public_data_sets() -> None:
    """Organic 10 to 20, inorganic 40 to 62, metal 95 to 113: from our palettes they are reached,
    and not left behind by far."""
    tones = [(p.organic.hue, p.inorganic.hue, p.metal.hue) for p in PALETTES.values()]
    colours = np.array([[(hue, 180, 230) for hue in row] for row in tones], np.uint8)
    picture = np.asarray(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), np.uint8)
    drawn = []
    for seed in range(100):
        maker = replace(random_maker(np.random.default_rng(seed)), vividness=1.0, opaque=0.0)
        drawn.append(cv2.cvtColor(recolour(picture, maker), cv2.COLOR_RGB2HSV)[..., 0])
    least, most = np.min(drawn, axis=(0, 1)), np.max(drawn, axis=(0, 1))
    assert (least <= (10, 40, 95)).all()
    assert (most >= (20, 62, 113)).all()
    assert (least >= (5, 30, 88)).all()
    assert (most <= (25, 72, 120)).all()


def test_the_empty_belt_stays_white_under_every_maker(bag: NDArray[np.uint8]) -> None:
    """Noise of a grey level or two must not become speckles of other hues."""
    air = bag.min(axis=2) >= bag.max() - 2
    for seed in range(10):
        after = recolour(bag, random_maker(np.random.default_rng(seed)))
        assert after[air].min() >= 245


def test_the_belts_grey_and_tint_stay_in_the_range_of_scanners() -> None:
    white = np.full((60, 80, 3), 255, np.uint8)
    belts = [random_belt(white, rng) for rng in map(np.random.default_rng, range(60))]
    means = np.array([belt.mean(axis=(0, 1)) for belt in belts])
    assert 200 < means.min() < 220
    assert means.max() > 245
    assert np.ptp(means, axis=1).max() < 10
    assert 4 < max(int(np.ptp(belt[..., 1])) for belt in belts) < 16


def test_an_exposure_keeps_the_order_of_greys_and_the_white() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(30):
        lit = random_exposure(ramp, np.random.default_rng(seed))
        assert (np.diff(lit.astype(int), axis=1) >= 0).all()
        assert (lit[0, -1] == 255).all()
        assert lit[0, 0].max() <= 60
