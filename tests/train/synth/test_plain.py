"""Plain shapes: masks that belong to what is drawn, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsam_train.categories import UNKNOWN
from apsam_train.cli import main
from apsam_train.data.formats import open_dataset
from apsam_train.errors import ConfigError
from apsam_train.synth.generator import SynthConfig, generate

SHAPES = SynthConfig(scene="shapes", side=128, num_instances=(3, 6), clutter=0.0)


def test_every_shape_darkens_what_it_covers() -> None:
    for index in range(10):
        image = generate(seed=0, index=index, config=SHAPES)
        covered = np.any([one.mask for one in image.instances], axis=0)
        brightness = image.rgb.mean(axis=2)
        assert brightness[covered].mean() < 0.85 * brightness[~covered].mean()
        assert all(3 * 10 <= one.mask.sum() < 0.5 * 128 * 128 for one in image.instances)


def test_overlap_is_the_share_that_other_shapes_cover() -> None:
    images = [generate(seed=0, index=index, config=SHAPES) for index in range(10)]
    for image in images:
        for number, one in enumerate(image.instances):
            others = [o.mask for i, o in enumerate(image.instances) if i != number]
            share = (np.any(others, axis=0) & one.mask).sum() / one.mask.sum() if others else 0
            assert one.overlap == pytest.approx(share, abs=1e-4)
    assert any(one.overlap > 0.2 for image in images for one in image.instances)


def test_the_same_seed_and_index_give_the_same_picture() -> None:
    first, again, other = (generate(seed=3, index=i, config=SHAPES) for i in (5, 5, 6))
    assert np.array_equal(first.rgb, again.rgb)
    assert not np.array_equal(first.rgb, other.rgb)


def test_the_command_writes_them_as_a_data_set_outside_the_thirty(tmp_path: Path) -> None:
    command = ["synth", "--scene", "shapes", "--num-images", "3", "--seed", "1", "--workers", "1"]
    assert main([*command, "--side", "128", "--out", str(tmp_path / "s"), "--energy"]) == 0
    source = open_dataset(tmp_path / "s")
    assert {one.category for i in range(3) for one in source[i].instances} == {"Shape"}
    assert source.label_of("Shape") == UNKNOWN


def test_an_unknown_scene_is_refused() -> None:
    with pytest.raises(ConfigError, match="scene is 'cars': expected one of bags, shapes"):
        SynthConfig(scene="cars")  # type: ignore[arg-type]
