"""Masks follow the picture."""

from __future__ import annotations

import numpy as np
import pytest

from apsam_train.data.augment.geometry import random_place
from apsam_train.data.sample import Instance, Sample


def bag(height: int, width: int) -> Sample:
    image = np.full((height, width, 3), 250, np.uint8)
    image[height // 4 : height * 3 // 4, width // 12 : width * 5 // 6] = (30, 60, 200)
    mask = image[..., 0] == 30
    return Sample(name="a", image=image, instances=(Instance(category="Gun", mask=mask),))


@pytest.mark.parametrize("from_afar", [False, True])
def test_a_mask_covers_its_object_wherever_it_went(from_afar: bool) -> None:
    sample = bag(120, 200)
    for seed in range(60):
        moved = random_place(sample, np.random.default_rng(seed), from_afar=from_afar)
        mask = moved.instances[0].mask
        assert mask.dtype == np.bool_
        assert mask.shape == moved.image.shape[:2]
        blue = moved.image[..., 0] < 140
        # Shrinking mixes colours on the outline, by no more than a pixel.
        outline = 2 * sum(np.ptp(np.nonzero(mask)[axis]) + 1 for axis in (0, 1))
        assert np.count_nonzero(blue ^ mask) <= (outline if from_afar else 0)


def test_from_afar_objects_shrink_to_less_than_half_and_the_belt_is_empty() -> None:
    sample = bag(120, 120)
    whole = np.count_nonzero(sample.instances[0].mask)
    shares, greys = [], []
    for seed in range(80):
        moved = random_place(sample, np.random.default_rng(seed), from_afar=True)
        shares.append(np.count_nonzero(moved.instances[0].mask) / whole)
        greys.append(moved.image[..., 0].max())
        assert max(moved.image.shape) <= 120
    assert min(shares) < 0.3
    assert max(shares) == 1
    assert set(greys) == {250}


def test_objects_that_are_cut_off_are_left_out_and_the_last_one_never() -> None:
    image = np.full((100, 100, 3), 250, np.uint8)
    corner, middle = np.zeros((2, 100, 100), bool)
    corner[:6, :6] = True
    middle[40:60, 40:60] = True
    both = tuple(Instance(category="Gun", mask=mask) for mask in (corner, middle))
    left = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        left.add(
            len(
                random_place(
                    Sample(name="a", image=image, instances=both), rng, from_afar=False
                ).instances
            )
        )
    assert left == {1, 2}
    lone = Sample(name="a", image=image, instances=both[:1])
    for seed in range(60):
        moved = random_place(lone, np.random.default_rng(seed), from_afar=False)
        assert len(moved.instances) == 1


def test_a_close_up_is_a_square_around_all_of_one_object() -> None:
    image = np.full((300, 400, 3), 250, np.uint8)
    masks = np.zeros((2, 300, 400), bool)
    masks[0, 20:50, 10:70] = True
    masks[1, 200:220, 150:390] = True
    sizes = sorted(np.count_nonzero(mask) for mask in masks)
    objects = tuple(Instance(category="Gun", mask=mask) for mask in masks)
    sides, whole = set(), set()
    for seed in range(80):
        moved = random_place(
            Sample(name="a", image=image, instances=objects),
            np.random.default_rng(seed),
            from_afar=False,
            closeup=1 / 3,
        )
        height, width = moved.image.shape[:2]
        assert height == width
        assert all(one.mask.shape == (height, width) for one in moved.instances)
        found = {np.count_nonzero(one.mask) for one in moved.instances}
        assert found & set(sizes)
        whole |= found & set(sizes)
        sides.add(height)
    assert whole == set(sizes)
    # A quarter to a half of 400, or what the long object needs.
    assert min(sides) < 120
    assert max(sides) == int(1.1 * 240)
