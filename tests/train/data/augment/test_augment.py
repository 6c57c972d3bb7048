"""The three ways to vary a sample."""

from __future__ import annotations

import time

import numpy as np
import pytest

from apsam_train.config import parse_config, read_config
from apsam_train.data.augment import Augment, random_look, random_view
from apsam_train.data.sample import Instance, Sample
from apsam_train.errors import ConfigError
from apsam_train.synth.generator import SynthConfig, generate


@pytest.fixture(scope="module")
def sample() -> Sample:
    drawn = generate(seed=3, index=4, config=SynthConfig(num_instances=(6, 6)))
    instances = tuple(Instance(category=o.category, mask=o.mask) for o in drawn.instances)
    return Sample(name="a", image=drawn.rgb, instances=instances)


def vary(sample: Sample, augment: Augment, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    view = random_view(sample, augment, rng)
    return Sample(
        name=view.name, image=random_look(view.image, augment, rng), instances=view.instances
    )


def test_none_leaves_everything_as_it_is(sample: Sample) -> None:
    varied = vary(sample, "none", 0)
    assert varied.image is sample.image
    assert varied.instances is sample.instances


@pytest.mark.parametrize("augment", ["view", "scanner"])
def test_everything_follows_from_the_generator(augment: Augment, sample: Sample) -> None:
    pictures = set()
    for seed in range(12):
        first, again = vary(sample, augment, seed), vary(sample, augment, seed)
        assert (first.image == again.image).all()
        assert all(
            (a.mask == b.mask).all() for a, b in zip(first.instances, again.instances, strict=True)
        )
        pictures.add(first.image.tobytes())
    assert len(pictures) == 12


def test_a_sample_is_never_written_to(sample: Sample) -> None:
    before = sample.image.tobytes(), [one.mask.tobytes() for one in sample.instances]
    for seed in range(20):
        vary(sample, "scanner", seed)
    assert (sample.image.tobytes(), [one.mask.tobytes() for one in sample.instances]) == before


def test_a_large_picture_takes_a_few_milliseconds(sample: Sample) -> None:
    vary(sample, "scanner", 0)
    started = time.thread_time()
    for seed in range(40):
        vary(sample, "scanner", seed)
    assert (time.thread_time() - started) / 40 < 0.025


@pytest.mark.parametrize(
    ("value", "message"),
    [("'wild'", "augment = 'wild' must be one of none, view, scanner"), ("true", "must be str")],
)
def test_other_values_are_refused(value: str, message: str) -> None:
    assert read_config("paper").augment == "view"
    with pytest.raises(ConfigError, match=message):
        parse_config(f"augment = {value}", source="x.toml")
