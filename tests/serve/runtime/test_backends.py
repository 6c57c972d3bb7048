"""What every back end promises, run over each file of the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.manifest import Bundle, ModelSpec, open_bundle
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.runtime.base import DecodedBatch, Runner, RunnerOptions, load, names
from tests.serve.runtime.plan_double import Device, add_plans, install


@pytest.fixture(params=names())
def opened(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[Path], Runner]]:
    """Opens a bundle in one of the back ends; that for plans runs over doubles of its libraries."""
    runners: list[Runner] = []

    def open_runner(path: Path) -> Runner:
        bundle, options = open_bundle(path), RunnerOptions(threads=1)
        if request.param == "tensorrt":
            bundle, options = planned(path, tmp_path), RunnerOptions(device="cuda")
            install(monkeypatch, Device())
        runners.append(load(request.param)(bundle, options))
        runners[-1].open()
        return runners[-1]

    yield open_runner
    for made in runners:
        made.close()


@pytest.fixture
def runner(opened: Callable[[Path], Runner], tiny_bundle: Path) -> Runner:
    return opened(tiny_bundle)


def planned(path: Path, folder: Path) -> Bundle:
    """The bundle with plans, in that folder."""
    copy = shutil.copytree(path, folder / path.name)
    add_plans(copy)
    return open_bundle(copy)


def images(bag: NDArray[np.uint8], model: ModelSpec) -> NDArray[np.uint8]:
    """Two different frames uint8 [2, S, S, 3]."""
    frame, _ = letterbox(bag, side=model.side)
    return np.stack([frame, frame // 2])


def decode(
    runner: Runner,
    frames: NDArray[np.uint8],
    image_index: list[int],
    points: list[list[tuple[float, float]]],
) -> DecodedBatch:
    encoded = runner.encode(frames)
    low = runner.model.mask_side
    return runner.decode(
        embedding=encoded.embedding,
        energy_query=encoded.energy_query,
        image_index=np.array(image_index),
        coords=np.array(points, np.float32),
        labels=np.ones((len(points), len(points[0])), np.float32),
        mask_input=np.zeros((len(points), 1, low, low), np.float32),
        has_mask_input=np.zeros(len(points), np.float32),
    )


def test_encoding_has_the_shapes_of_the_model(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    batch = runner.encode(images(bag, model))
    assert batch.embedding.shape == (2, model.embed_dim, model.grid, model.grid)
    assert batch.energy_query.shape == (2, model.embed_dim)
    assert batch.attention.shape == (2, model.side // 8, model.side // 8)
    arrays = (batch.embedding, batch.energy_query, batch.attention)
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_energy_may_come_from_other_pixels_than_the_image(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    frames = images(bag, model)
    same, none = runner.encode(frames, frames), runner.encode(frames)
    swapped = runner.encode(frames, frames[::-1])
    np.testing.assert_array_equal(same.energy_query, none.energy_query)
    np.testing.assert_array_equal(same.attention, none.attention)
    np.testing.assert_array_equal(swapped.embedding, none.embedding)
    np.testing.assert_array_equal(swapped.energy_query, none.energy_query[::-1])
    np.testing.assert_array_equal(swapped.attention, none.attention[::-1])
    assert not np.allclose(swapped.energy_query, none.energy_query)
    assert not np.allclose(swapped.attention, none.attention)


def test_nobody_sees_a_device_that_was_not_asked_for(runner: Runner) -> None:
    assert runner.device is None


def test_decoding_has_the_shapes_of_the_model(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    points = [[(20.0, 20.0), (24.0, 20.0)]] * 3
    decoded = decode(runner, images(bag, model), [0, 1, 1], points)
    assert decoded.logits.shape == (3, model.num_masks, model.mask_side, model.mask_side)
    assert decoded.iou.shape == (3, model.num_masks)
    assert decoded.logits.dtype == decoded.iou.dtype == np.float32
    assert decoded.category_logits is None


def test_an_answer_does_not_depend_on_who_else_asked(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    frames = images(bag, model)
    points = [[(20.0, 20.0)], [(40.0, 30.0)], [(30.0, 9.0)]]
    together = decode(runner, frames, [1, 0, 1], points)
    alone = decode(runner, frames[1:], [0], points[:1])
    np.testing.assert_allclose(together.logits[0], alone.logits[0], rtol=1e-5, atol=1e-4)


def test_a_click_is_inside_its_own_mask(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    decoded = decode(runner, images(bag, model), [0], [[(18.0, 22.0)]])
    best = decoded.logits[0, decoded.iou[0].argmax()]
    assert best[22 // 4, 18 // 4] > 0
    assert 0 < (best > 0).mean() < 0.5


def test_a_previous_mask_changes_the_answer(
    runner: Runner, bag: NDArray[np.uint8], model: ModelSpec
) -> None:
    encoded = runner.encode(images(bag, model)[:1])
    low = model.mask_side
    logits = runner.decode(
        embedding=encoded.embedding,
        energy_query=encoded.energy_query,
        image_index=np.zeros(2, np.int64),
        coords=np.full((2, 1, 2), 20, np.float32),
        labels=np.ones((2, 1), np.float32),
        mask_input=np.ones((2, 1, low, low), np.float32),
        has_mask_input=np.array([0, 1], np.float32),
    ).logits
    assert not np.allclose(logits[0], logits[1])


def test_a_category_head_answers_for_each_prompt_alone(
    opened: Callable[[Path], Runner],
    named_bundle: Path,
    named_model: ModelSpec,
    bag: NDArray[np.uint8],
) -> None:
    runner = opened(named_bundle)
    frames, points = images(bag, named_model), [[(20.0, 20.0)], [(40.0, 30.0)], [(30.0, 9.0)]]
    together = decode(runner, frames, [1, 0, 1], points).category_logits
    alone = decode(runner, frames[1:], [0], points[:1]).category_logits
    assert together is not None
    assert alone is not None
    assert (together.shape, together.dtype) == ((3, 4), np.float32)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-5)
    assert np.ptp(together[0]) > 0.1


def test_a_runner_can_be_closed_twice(runner: Runner) -> None:
    runner.close()
    runner.close()


def test_creating_a_runner_touches_no_file(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    for name in names():
        made = load(name)(bundle, RunnerOptions(device="nowhere"))
        assert made.model is bundle.manifest.model
        assert made.device is None


def test_an_unknown_back_end_names_the_known_ones() -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"'tpu' is unknown.*fake, onnxruntime, tensorrt"
    ):
        load("tpu")
    with pytest.raises(BackendUnavailableError, match="'base' is unknown"):
        load("base")
