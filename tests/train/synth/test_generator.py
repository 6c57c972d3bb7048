import time

import cv2
import numpy as np
import pytest

from apsam_train.categories import CATEGORIES, SUPERCLASS, category_id
from apsam_train.errors import ConfigError
from apsam_train.synth import SynthConfig, SyntheticImage, generate
from apsam_train.synth.canvas import Canvas, Pose, rasterise
from apsam_train.synth.shapes import Drawing, box
from apsam_train.synth.threats import THREATS

# Wholly steel things, as in life.
ONE_MATERIAL = {"Razorblade", "Sawblade"}


@pytest.fixture(scope="module")
def images() -> list[SyntheticImage]:
    return [generate(seed=11, index=i) for i in range(8)]


def test_table_7_has_thirty_categories_numbered_from_one() -> None:
    assert len(set(CATEGORIES)) == 30
    assert category_id("ColumnarBlockBattery") == 1
    assert category_id("Sawblade") == 30
    assert SUPERCLASS["Scissors"] == "Scissors"


def test_an_unknown_category_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match=r"unknown category 'gun'.*Gun, Bullet"):
        category_id("gun")


def test_every_category_has_a_drawing() -> None:
    assert set(THREATS) == set(CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_threat_is_drawn_with_its_materials_and_varies(category: str) -> None:
    rng = np.random.default_rng(3)
    pose = Pose(matrix=0.8 * np.eye(2), centre=(256.0, 256.0))
    sprites = [rasterise(THREATS[category](rng), pose) for _ in range(4)]
    areas = {int(np.count_nonzero(sprite.coverage > 0.5)) for sprite in sprites}
    assert min(areas) > 50
    assert len({sprite.coverage.tobytes() for sprite in sprites}) > 1
    for sprite in sprites:
        used = [name for name, layer in sprite.layers.items() if layer.max() > 0]
        assert len(used) >= (1 if category in ONE_MATERIAL else 2)
        assert all(np.isfinite(layer).all() for layer in sprite.layers.values())
        assert all(layer.min() >= 0 for layer in sprite.layers.values())


def test_thickness_of_stacked_sprites_adds() -> None:
    drawing = Drawing()
    drawing.plate(box(-10, -10, 10, 10), "steel", 2.0)
    sprite = rasterise(drawing, Pose(matrix=np.eye(2), centre=(20.0, 20.0)))
    canvas = Canvas(side=40)
    canvas.add(sprite)
    canvas.add(sprite)
    assert canvas.layers["steel"][20, 20] == pytest.approx(4.0)


def test_the_same_seed_and_index_give_the_same_bytes() -> None:
    first, second = generate(seed=7, index=3), generate(seed=7, index=3)
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.high, second.high)
    assert np.array_equal(first.low, second.low)
    assert [i.category for i in first.instances] == [i.category for i in second.instances]
    assert not np.array_equal(first.rgb, generate(seed=7, index=4).rgb)
    assert not np.array_equal(first.rgb, generate(seed=8, index=3).rgb)


def test_images_have_the_promised_shapes_types_and_truth(images: list[SyntheticImage]) -> None:
    for image in images:
        assert image.rgb.shape == (512, 512, 3)
        assert image.rgb.dtype == np.uint8
        assert image.high.shape == image.low.shape == (512, 512)
        assert image.high.dtype == image.low.dtype == np.uint16
        assert 2 <= len(image.instances) <= 6
        for instance in image.instances:
            assert instance.category in CATEGORIES
            assert instance.mask.dtype == bool
            assert instance.mask.any()
            assert 0 <= instance.overlap <= 1


def test_low_energy_is_darker_than_high(images: list[SyntheticImage]) -> None:
    for image in images:
        matter = image.high < 0.9 * 65535
        assert np.mean(image.low[matter] <= image.high[matter]) > 0.99
        assert image.low.mean() < image.high.mean()


def test_scenes_look_like_real_ones_in_numbers(images: list[SyntheticImage]) -> None:
    """Real sets: 20-67 % background, brightest channel around 200-245, darkest 60-170."""
    empty, brightest, darkest, overlaps = [], [], [], []
    for image in images:
        foreground = image.high < 0.97 * 65535
        empty.append(1 - foreground.mean())
        brightest.append(np.median(image.rgb.max(axis=2)[foreground]))
        darkest.append(np.median(image.rgb.min(axis=2)[foreground]))
        overlaps += [instance.overlap for instance in image.instances]
    assert 0.3 < np.mean(empty) < 0.68
    assert 190 < np.mean(brightest) < 255
    assert 60 < np.mean(darkest) < 190
    assert np.mean(overlaps) > 0.4


def test_masks_cover_what_attenuates_more_than_their_surroundings() -> None:
    config = SynthConfig(clutter=0.0, num_instances=(3, 3))
    for index in range(4):
        image = generate(seed=2, index=index, config=config)
        for instance in image.instances:
            ring = cv2.dilate(instance.mask.astype(np.uint8), np.ones((9, 9))) > 0
            outside = ring & ~instance.mask
            assert np.median(image.low[instance.mask]) <= np.median(image.low[outside]) + 400


@pytest.mark.parametrize("side", [256, 640])
def test_other_sides_work(side: int) -> None:
    image = generate(seed=1, index=0, config=SynthConfig(side=side))
    assert image.rgb.shape == (side, side, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": 20}, r"side is 20: expected 128 to 2048"),
        ({"palettes": ("neon",)}, r"palettes are \('neon',\): expected one or more of hixray"),
        ({"num_instances": (5, 2)}, r"num_instances is \(5, 2\)"),
        ({"clutter": -1.0}, r"clutter is -1.0: expected 0 to 3"),
    ],
)
def test_a_configuration_that_cannot_work_names_value_expectation_and_fix(
    wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SynthConfig(**wrong)  # type: ignore[arg-type]


def test_one_core_makes_images_fast_enough_to_train_on() -> None:
    """The goal is 10 per second; the floor is lenient because a machine may be busy."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        generate(seed=0, index=0)
        started = time.process_time()
        for index in range(1, 13):
            generate(seed=0, index=index)
        rate = 12 / (time.process_time() - started)
    finally:
        cv2.setNumThreads(threads)
    print(f"{rate:.1f} images of 512 x 512 per second of one core")
    assert rate > 4
