"""What becomes of images and memory when the device path fails."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import open_bundle
from apsam_serve.contract.prompts import Point, Prompt, to_decoder
from apsam_serve.engine.compute import Compute
from apsam_serve.engine.device_compute import DeviceCompute
from apsam_serve.errors import DeviceFaultError, ModelFaultError, OutOfMemoryError
from tests.serve.engine.device_cases import Image, click_on, pixels_of
from tests.serve.engine.device_double import HostDevice, HostRunner


def _spoiled(graph: str, name: str, call: int) -> Callable[[str, dict[str, NDArray[Any]]], None]:
    """Make one value of that answer NaN, at that call of the graph (0, 1, ...)."""
    num_calls = -1

    def spoil(called: str, answers: dict[str, NDArray[Any]]) -> None:
        nonlocal num_calls
        num_calls += called == graph
        if called == graph and num_calls == call:
            answers[name].flat[1] = np.nan

    return spoil


@pytest.mark.parametrize("call", [0, 1], ids=["decode 1", "decode 2"])
@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("low_res_logits", "IoU or logits"),
        ("iou", "IoU or logits"),
        ("category_logits", "category logits"),
    ],
)
def test_an_answer_that_is_no_number_is_a_fault_of_the_model(
    kernels: ctypes.CDLL, named_bundle: Path, bag: Image, output: str, what: str, call: int
) -> None:
    device = HostDevice(kernels)
    runner = HostRunner(open_bundle(named_bundle), device, replayable=True)
    compute = DeviceCompute(runner, device, num_masks=1)
    pixels, frame = pixels_of(bag)
    question = click_on(compute.encode([pixels])[0][0], frame)
    runner.spoil = _spoiled("prompt_decoder", output, call)
    message = f"the decoder answered {what} that are no numbers, for 1 prompts; export the bundle"
    with pytest.raises(ModelFaultError, match=message):
        compute.answer([question])
    compute.answer([question])


def test_the_second_decode_of_an_empty_mask_is_not_looked_at(
    kernels: ctypes.CDLL, named_bundle: Path, bag: Image
) -> None:
    device = HostDevice(kernels)
    runner = HostRunner(open_bundle(named_bundle), device, replayable=False)
    compute = DeviceCompute(runner, device, num_masks=1)
    pixels, frame = pixels_of(bag)
    nothing = to_decoder(Prompt(points=(Point(x=9, y=9, positive=False),)), frame)
    question = click_on(compute.encode([pixels])[0][0], frame, prompts=[nothing])
    runner.spoil = _spoiled("prompt_decoder", "category_logits", 1)
    ((answer,),), _ = compute.answer([question])
    assert answer.branch == "empty"
    assert np.isfinite(answer.category_logits).all()
    assert not answer.mask(frame).any()


def test_attention_that_is_no_number_holds_no_image(
    compute: DeviceCompute, runner: HostRunner, device: HostDevice, bag: Image
) -> None:
    pixels, _ = pixels_of(bag)
    runner.spoil = _spoiled("energy_encoder", "attention", 0)
    with pytest.raises(ModelFaultError, match="attention that are no numbers"):
        compute.encode([pixels])
    allocated = device.allocated
    _require_all_slots_free(compute, pixels, device, allocated)


def _require_all_slots_free(
    compute: Compute, pixels: Pixels, device: HostDevice, allocated: int
) -> None:
    """Sixteen slots, which is one chunk, are there."""
    for _ in range(16):
        compute.encode([pixels])
    assert device.allocated == allocated


def test_no_room_for_an_image_lends_nothing_and_passes(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    pixels, _ = pixels_of(bag)
    encoded = [compute.encode([pixels])[0][0] for _ in range(16)]
    allocated, size = device.allocated, device.size
    device.size = allocated + compute.held_bytes - 1
    with pytest.raises(OutOfMemoryError):
        compute.encode([pixels])
    device.size = allocated + 3 * compute.held_bytes  # a chunk of sixteen does not fit
    compute.encode([pixels])
    device.size = size
    for one in encoded:
        compute.forget(one)
    allocated = device.allocated
    _require_all_slots_free(compute, pixels, device, allocated)


def test_no_room_for_a_batch_gives_its_slots_back(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    """Slots are there, buffers for eight images at once are not."""
    pixels, _ = pixels_of(bag)
    compute.forget(compute.encode([pixels])[0][0])
    size, device.size = device.size, device.allocated
    with pytest.raises(OutOfMemoryError):
        compute.encode([pixels] * 8)
    assert device.allocated == device.size
    _require_all_slots_free(compute, pixels, device, device.size)
    device.size = size


def test_no_room_for_prompts_fails_them_alone(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    pixels, frame = pixels_of(bag)
    click = click_on(compute.encode([pixels])[0][0], frame)
    compute.answer([click])
    allocated = device.allocated
    for room in (0, 85_000, 95_000, 120_000):
        device.size = allocated + room
        with pytest.raises(OutOfMemoryError):
            compute.answer([click] * 8)
        compute.answer([click])


def test_a_fault_of_the_device_gives_slots_back(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    pixels, frame = pixels_of(bag)
    click = click_on(compute.encode([pixels])[0][0], frame)
    device.faulty = True
    for _ in range(20):
        with pytest.raises(DeviceFaultError):
            compute.encode([pixels])
    with pytest.raises(DeviceFaultError):
        compute.answer([click])
    device.faulty = False
    compute.answer([click])
    compute.forget(click.encoded)
    _require_all_slots_free(compute, pixels, device, device.allocated)


def test_a_call_that_fails_half_way_leaves_nothing_queued(
    compute: DeviceCompute,
    runner: HostRunner,
    device: HostDevice,
    bag: Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it had sent or copied might otherwise reach memory that others are given next."""
    pixels, frame = pixels_of(bag)
    click = click_on(compute.encode([pixels])[0][0], frame)

    def refuse(graph: str, *_: object) -> None:
        raise OutOfMemoryError(f"no room for {graph}", retry_after_s=1.0)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "enqueue", refuse)
        for call in (lambda: compute.encode([pixels]), lambda: compute.answer([click])):
            with pytest.raises(OutOfMemoryError, match="no room for"):
                call()
            assert device.num_queued == 0
    compute.answer([click])


def test_energies_that_find_no_room_take_page_locked_memory_once(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    pixels, _ = pixels_of(bag)
    dual = Pixels(image=pixels.image, energy=pixels.energy.copy())
    compute.forget(compute.encode([pixels])[0][0])
    size, device.size = device.size, device.allocated
    pinned = device.num_pinned
    for _ in range(3):
        with pytest.raises(OutOfMemoryError):
            compute.encode([dual])
    assert device.num_pinned == pinned + 1
    device.size = size
    compute.encode([dual])
    assert device.num_pinned == pinned + 1


def test_a_model_beside_another_one_replays_nothing_of_its(
    kernels: ctypes.CDLL, tiny_bundle: Path, bag: Image
) -> None:
    """Both on one device, one after the other, with buffers of the same sizes."""
    device = HostDevice(kernels)
    runner = HostRunner(open_bundle(tiny_bundle), device, replayable=True)
    pixels, frame = pixels_of(bag)
    masks = []
    for _ in range(2):
        compute = DeviceCompute(runner, device, num_masks=1)
        for _ in range(3):
            (encoded,), _ = compute.encode([pixels])
            ((answer,),), _ = compute.answer([click_on(encoded, frame)])
            masks.append(answer.mask(frame))
        compute.close()
    assert masks[0].any()
    assert all((mask == masks[0]).all() for mask in masks)


def test_a_device_that_fails_for_good_is_closed_all_the_same(
    kernels: ctypes.CDLL, tiny_bundle: Path, bag: Image
) -> None:
    device = HostDevice(kernels)
    compute = DeviceCompute(HostRunner(open_bundle(tiny_bundle), device, replayable=True), device)
    compute.encode([pixels_of(bag)[0]])
    device.faulty = True
    compute.close()
    assert device.allocated == 0
