"""The back end for plans, over doubles of its libraries: what it checks, and what it hands over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apsam_serve.contract.manifest import open_bundle, write_manifest
from apsam_serve.errors import BackendUnavailableError, BundleError, InvalidInputError
from apsam_serve.ops.plans import Profile, fitting
from apsam_serve.runtime import onnxruntime
from apsam_serve.runtime.base import Runner, RunnerOptions
from apsam_serve.runtime.tensorrt import create
from tests.serve.runtime import plan_double
from tests.serve.runtime.plan_double import Device, add_plans, install

CUDA = RunnerOptions(device="cuda")
PROFILES: list[Profile] = [
    {"x": ((1, 3), (1, 3)), "y": ((1,), (1,))},
    {"x": ((1, 3), (64, 3)), "y": ((1,), (64,))},
    {"x": ((1, 3), (4, 3)), "y": ((1,), (64,))},
]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    install(monkeypatch, made)
    return made


@pytest.fixture
def plans(fresh_bundle: Path) -> Path:
    add_plans(fresh_bundle)
    return fresh_bundle


@pytest.fixture
def runner(device: Device, plans: Path) -> Iterator[Runner]:
    made = create(open_bundle(plans), CUDA)
    made.open()
    yield made
    made.close()


def open_it(bundle: Path, options: RunnerOptions = CUDA) -> None:
    create(open_bundle(bundle), options).open()


@pytest.mark.parametrize(("x", "y", "index"), [(1, 1, 0), (2, 1, 2), (1, 64, 2), (5, 5, 1)])
def test_the_smallest_profile_that_fits_is_taken(x: int, y: int, index: int) -> None:
    assert fitting({"x": (x, 3), "y": (y,)}, PROFILES) == index


@pytest.mark.parametrize("shape", [(65, 3), (1, 4), (0, 3), (3,)])
def test_a_shape_outside_every_profile_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"no profile .*takes up to.*send fewer at once"):
        fitting({"x": shape, "y": (1,)}, PROFILES)


@pytest.mark.parametrize("num_images", [1, 3])
def test_plans_answer_like_the_graphs_they_were_made_of(
    runner: Runner, plans: Path, num_images: int
) -> None:
    reference = onnxruntime.create(open_bundle(plans), RunnerOptions(threads=1))
    reference.open()
    rng = np.random.default_rng(num_images)
    side, low = runner.model.side, runner.model.mask_side
    images = rng.integers(0, 256, (num_images, side, side, 3), np.uint8)
    for each in (1, 5, 2):
        found, expected = (one.encode(images) for one in (runner, reference))
        np.testing.assert_array_equal(found.embedding, expected.embedding)
        np.testing.assert_array_equal(found.attention, expected.attention)
        prompts = {
            "embedding": found.embedding,
            "energy_query": found.energy_query,
            "image_index": np.arange(each) % num_images,
            "coords": rng.uniform(0, side, (each, 3, 2)).astype(np.float32),
            "labels": np.ones((each, 3), np.float32),
            "mask_input": np.zeros((each, 1, low, low), np.float32),
            "has_mask_input": np.zeros(each, np.float32),
        }
        ours, theirs = (one.decode(**prompts) for one in (runner, reference))
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        np.testing.assert_array_equal(ours.iou, theirs.iou)
    reference.close()


def test_the_steady_state_allocates_nothing_and_closing_frees_everything(
    runner: Runner, device: Device
) -> None:
    side = runner.model.side
    runner.encode(np.zeros((3, side, side, 3), np.uint8))
    before = device.num_allocations
    for num_images in (1, 3, 2):
        runner.encode(np.zeros((num_images, side, side, 3), np.uint8))
    assert device.num_allocations == before
    assert device.allocated > 0
    runner.close()
    runner.close()
    assert (device.allocated, device.num_streams) == (0, 0)


def test_what_is_copied_for_the_device_lives_until_it_is_there(runner: Runner, plans: Path) -> None:
    side = runner.model.side
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 6), np.uint8)[..., ::2]
    assert not images.flags.c_contiguous
    found, expected = runner.encode(images), runner.encode(images.copy())
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    np.testing.assert_array_equal(found.attention, expected.attention)


def test_more_than_the_plans_were_compiled_for_is_refused(runner: Runner) -> None:
    with pytest.raises(InvalidInputError, match=r"\(5, 64, 64, 3\).*up to .*\(4, 64, 64, 3\)"):
        runner.encode(np.zeros((5, 64, 64, 3), np.uint8))


def test_a_full_device_is_named(runner: Runner, device: Device) -> None:
    device.size = 0
    with pytest.raises(BackendUnavailableError, match=r"cudaErrorMemoryAllocation; look at nvidia"):
        runner.encode(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_plan_that_finds_no_room_is_refused_at_once(device: Device, plans: Path) -> None:
    device.size = 0
    with pytest.raises(BackendUnavailableError, match=r"plan of image_encoder failed .*memory, or"):
        open_it(plans)
    assert device.num_streams == 0


def test_a_library_that_does_not_start_is_named(device: Device, plans: Path) -> None:
    device.starts = False
    with pytest.raises(BackendUnavailableError, match=r"tensorrt does not start .*nullptr.*driver"):
        open_it(plans)
    assert device.num_streams == 0


def test_plans_that_reach_less_far_than_the_service_are_refused(
    device: Device, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = ({"B": (1, 16), "P": (1, 64), "N": (1, 20)},)
    monkeypatch.setattr(plan_double, "PROMPTS", narrow)
    with pytest.raises(BundleError, match=r"prompt_decoder.onnx: no profile.*export the bundle"):
        open_it(plans)
    assert device.num_streams == 0


def test_a_plan_for_another_machine_says_what_it_was_compiled_with(
    device: Device, plans: Path
) -> None:
    manifest = replace(open_bundle(plans).manifest, files={})
    (plans / "energy_encoder.onnx").write_bytes(b"not a plan of this version")
    write_manifest(plans, manifest)
    message = r"energy_encoder.*loaded by tensorrt 10.9.*magic tag.*'gpu': 'a double'.*compile"
    with pytest.raises(BackendUnavailableError, match=message):
        open_it(plans)


def test_a_plan_with_other_tensors_than_the_contract_is_refused(
    device: Device, fresh_bundle: Path
) -> None:
    add_plans(fresh_bundle, precision="fp16")
    with pytest.raises(BundleError, match=r"'embedding' is float32 .*expected float16"):
        open_it(fresh_bundle)


def test_plans_run_on_no_other_device(device: Device, plans: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="cannot run on device 'cpu'; give device"):
        open_it(plans, RunnerOptions())


def test_a_bundle_without_plans_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"runs tensorrt or tensorrt_rtx; .*fp32"):
        open_it(tiny_bundle)


def test_a_missing_library_is_named_with_how_to_install_it(
    plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailableError, match=r"tensorrt is not installed .*apsam\[gpu\]"):
        open_it(plans)


def test_missing_bindings_are_named_with_how_to_install_them(
    device: Device, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendUnavailableError, match=r"cuda.bindings is not .*install cuda-bind"):
        open_it(plans)
