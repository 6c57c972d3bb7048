"""The device path on a double of a device, held to the path through host memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Box, DecoderPrompt, Point, Prompt, to_decoder
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.device_compute import DeviceCompute, DeviceEncoded
from apsam_serve.engine.host_compute import HostCompute, HostEncoded
from apsam_serve.prompting.base import Answer
from tests.serve.engine.device_cases import PLANES, Image, click_on, pixels_of
from tests.serve.engine.device_double import HostDevice, HostRunner

SIZES = ((60, 80), (80, 60), (64, 64), (7, 90), (300, 20), (1, 1))
CONFIGS = (
    ApgConfig(),
    ApgConfig(tau=1e9, seed=-3),
    ApgConfig(tau=1e9, fallback="box", scale_range=(0.9, 1.1), seed=2**70),
    ApgConfig(max_iterations=2, scale_range=(0.4, 1.0)),
)


def _picture(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    return rng.integers(0, 256, (*size, 3), np.uint8)


def _prompt(rng: np.random.Generator, frame: LetterBox) -> DecoderPrompt:
    """Clicks, negative points and a box in any mixture; a mask of the host's now and then."""
    points = [
        Point(
            x=rng.uniform(0, frame.width),
            y=rng.uniform(0, frame.height),
            positive=bool(rng.random() < 0.7),
        )
        for _ in range(rng.integers(0, 5))
    ]
    box = None
    if rng.random() < 0.3 or not points:
        box = Box(left=0, top=0, right=frame.width * rng.uniform(0.5, 1), bottom=frame.height)
    mask = rng.normal(0, 50, (16, 16)).astype(np.float32) if rng.random() < 0.2 else None
    return to_decoder(Prompt(points=tuple(points), box=box, mask_logits=mask), frame)


def _questions(
    rng: np.random.Generator, encoded: Sequence[Encoded], frames: Sequence[LetterBox]
) -> list[Question]:
    questions = []
    for one, frame in zip(encoded, frames, strict=True):
        num = int(rng.integers(1, 5))
        strategy: StrategyName = "direct" if rng.random() < 0.3 else "apg"
        questions.append(
            Question(
                encoded=one,
                frame=frame,
                prompts=[_prompt(rng, frame) for _ in range(num)],
                refine=[None] * num,
                keep=[place if place < PLANES else None for place in range(num)],
                strategy=strategy,
                apg=CONFIGS[int(rng.integers(len(CONFIGS)))],
            )
        )
    return questions


def _about(questions: Sequence[Question], encoded: Sequence[Encoded]) -> list[Question]:
    return [replace(q, encoded=one) for q, one in zip(questions, encoded, strict=True)]


def _require_same(
    questions: Sequence[Question],
    found: Sequence[Sequence[Answer]],
    expected: Sequence[Sequence[Answer]],
) -> list[str]:
    """Answers to each question are the same. Returns the branches."""
    for question, answers, wanted in zip(questions, found, expected, strict=True):
        for answer, want in zip(answers, wanted, strict=True):
            assert answer.branch == want.branch
            assert answer.points.tolist() == want.points.tolist()
            assert answer.labels.tolist() == want.labels.tolist()
            assert (answer.points.dtype, answer.labels.dtype) == (want.points.dtype,) * 2
            assert answer.score == want.score
            assert answer.logits is None
            assert np.array_equal(answer.mask(question.frame), want.mask(question.frame))
            if want.category_logits is None:
                assert answer.category_logits is None
            else:
                assert answer.category_logits is not None
                assert answer.category_logits.tolist() == want.category_logits.tolist()
    return [answer.branch for answers in found for answer in answers]


def test_answers_are_those_of_the_host(
    compute: DeviceCompute, reference: HostCompute, device: HostDevice
) -> None:
    """Of every branch, then about the masks that were kept, then about other images in the slots
    of the first."""
    branches: set[str] = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(SIZES), rng.integers(1, 6))
        pixels, frames = zip(*(pixels_of(_picture(rng, SIZES[i])) for i in chosen), strict=True)
        (encoded, spent_s), (wanted, host_s) = compute.encode(pixels), reference.encode(pixels)
        assert spent_s.keys() == {"transfer", "encode", "energy"}
        assert host_s.keys() == {"encode", "energy"}
        for one, other in zip(encoded, wanted, strict=True):
            assert isinstance(one, DeviceEncoded)
            assert isinstance(other, HostEncoded)
            for name in ("embedding", "energy_query"):
                held = device.view(getattr(one.slot, name))
                np.testing.assert_allclose(held, getattr(other, name), atol=1e-6)
            np.testing.assert_array_equal(one.attention, other.attention)
        for _ in range(2):
            questions = _questions(rng, encoded, frames)
            asked = _about(questions, wanted)
            found, expected = compute.answer(questions)[0], reference.answer(asked)[0]
            branches.update(_require_same(questions, found, expected))
            questions = [
                replace(q, refine=[k if rng.random() < 0.7 else None for k in q.keep])
                for q in questions
            ]
            found = compute.answer(questions)[0]
            expected = reference.answer(_about(questions, wanted))[0]
            branches.update(_require_same(questions, found, expected))
        for one in encoded:
            compute.forget(one)
    assert branches == {"direct", "clusters", "fallback", "empty"}


def test_kept_masks_are_those_of_the_answers(
    compute: DeviceCompute, reference: HostCompute, device: HostDevice, bag: Image
) -> None:
    """Also of a prompt whose first mask is empty; planes beside them stay as they are."""
    pixels, frame = pixels_of(bag)
    ours, theirs = compute.encode([pixels])[0][0], reference.encode([pixels])[0][0]
    assert isinstance(ours, DeviceEncoded)
    assert isinstance(theirs, HostEncoded)
    theirs.masks[:] = np.nan
    nothing = to_decoder(Prompt(box=Box(left=0, top=0, right=60, bottom=40)), frame)
    click = click_on(ours, frame)
    questions = [replace(click, keep=[2]), replace(click, prompts=[nothing], keep=[0])]
    compute.answer(questions)
    reference.answer(_about(questions, [theirs, theirs]))
    kept = device.view(ours.slot.masks)
    np.testing.assert_array_equal(kept, theirs.masks)
    assert np.isfinite(kept[[0, 2]]).all()
    assert np.isnan(kept[1]).all()


def test_energies_of_their_own_are_what_the_energy_encoder_sees(
    compute: DeviceCompute, reference: HostCompute, device: HostDevice
) -> None:
    """One such image among others, and none in the batch after it; recorded or not."""
    rng = np.random.default_rng(0)
    plain, other = (pixels_of(_picture(rng, (64, 64)))[0] for _ in range(2))
    dual = Pixels(image=plain.image, energy=other.image)
    for pixels in ([plain, dual], [plain, other]) * 3:
        for one, want in zip(compute.encode(pixels)[0], reference.encode(pixels)[0], strict=True):
            assert isinstance(one, DeviceEncoded)
            assert isinstance(want, HostEncoded)
            query = device.view(one.slot.energy_query)
            np.testing.assert_allclose(query, want.energy_query, atol=1e-6)
            np.testing.assert_array_equal(one.attention, want.attention)


def test_long_lists_are_split_into_batches(
    compute: DeviceCompute, reference: HostCompute, runner: HostRunner
) -> None:
    rng = np.random.default_rng(0)
    pixels, frames = zip(*(pixels_of(_picture(rng, (64, 64))) for _ in range(35)), strict=True)
    encoded, wanted = compute.encode(pixels)[0], reference.encode(pixels)[0]
    for one, want in zip(encoded, wanted, strict=True):
        np.testing.assert_array_equal(one.attention, want.attention)
    num = [shapes["image"][0] for graph, shapes in runner.shapes if graph == "image_encoder"]
    assert num == [16, 16, 4]
    questions = [
        replace(
            click_on(one, frame),
            prompts=[to_decoder(Prompt.click(i, 30), frame) for i in range(4)],
            refine=[None] * 4,
            keep=[None] * 4,
        )
        for one, frame in zip(encoded, frames, strict=True)
    ]
    found = compute.answer(questions)[0]
    _require_same(questions, found, reference.answer(_about(questions, wanted))[0])
    decodes = [shapes for graph, shapes in runner.shapes if graph == "prompt_decoder"]
    assert [(s["embedding"][0], s["point_labels"]) for s in decodes[::2]] == [
        (64, (64, 2)),
        (64, (64, 2)),
        (16, (16, 2)),
    ]


@pytest.mark.parametrize(
    ("prompt", "num_points"),
    [
        (Prompt.click(30, 30), [2, 3]),
        (Prompt(points=(Point(x=30, y=30), Point(x=9, y=9, positive=False))), [3, 4]),
        (
            Prompt(points=(Point(x=30, y=30),) * 3, box=Box(left=0, top=0, right=50, bottom=50)),
            [5, 4],
        ),
    ],
    ids=["click", "negative point", "box"],
)
def test_no_decode_sees_more_points_than_on_the_host(
    compute: DeviceCompute,
    runner: HostRunner,
    bag: Image,
    prompt: Prompt,
    num_points: list[int],
) -> None:
    """Padding points take part in attention: SAM's one without a box, and no other."""
    pixels, frame = pixels_of(bag)
    click = click_on(compute.encode([pixels])[0][0], frame, prompts=[to_decoder(prompt, frame)])
    runner.shapes.clear()
    compute.answer([click])
    assert [shapes["point_labels"] for _, shapes in runner.shapes] == [(1, n) for n in num_points]


def test_a_click_allocates_nothing_and_waits_once(
    compute: DeviceCompute, device: HostDevice, runner: HostRunner, bag: Image
) -> None:
    """From the second on; and what it fetches is as large as its mask and little else."""
    pixels, frame = pixels_of(bag)
    encoded = compute.encode([pixels])[0][0]
    for _ in range(2):
        compute.answer([click_on(encoded, frame)])
    for place in range(5):
        before = (device.num_allocations, device.num_waits, device.fetched_bytes)
        num_replays = device.num_replays
        prompt = to_decoder(Prompt.click(10 * place, 20), frame)
        ((answer,),), timings = compute.answer(
            [click_on(encoded, frame, prompts=[prompt], apg=ApgConfig(seed=place))]
        )
        assert answer.bits is not None
        assert device.num_allocations == before[0]
        assert device.num_waits == before[1] + 1
        assert device.fetched_bytes - before[2] <= answer.bits.nbytes + 4096
        assert device.num_replays == num_replays + runner.replayable
        assert set(timings) == {"transfer", "decode_1", "points", "decode_2", "mask"}
        assert all(spent >= 0 for spent in timings.values())
    direct = compute.answer([click_on(encoded, frame, strategy="direct")])[1]
    assert set(direct) == {"transfer", "decode_1", "mask"}


def test_an_encode_allocates_nothing_and_waits_once(
    compute: DeviceCompute, device: HostDevice, bag: Image
) -> None:
    pixels, _ = pixels_of(bag)
    compute.forget(compute.encode([pixels])[0][0])
    for _ in range(3):
        num_allocations, num_waits = device.num_allocations, device.num_waits
        fetched = device.fetched_bytes
        (encoded,), _ = compute.encode([pixels])
        assert device.num_allocations == num_allocations
        assert device.num_waits == num_waits + 1
        assert device.fetched_bytes == fetched + encoded.attention.nbytes


def test_a_larger_mask_than_ever_gets_room(
    compute: DeviceCompute, reference: HostCompute, device: HostDevice
) -> None:
    """Recordings of the smaller room are not used any more."""
    rng = np.random.default_rng(0)
    for size in ((60, 80), (2000, 1000), (60, 80), (1500, 3000), (70, 40)):
        pixels, frame = pixels_of(_picture(rng, size))
        encoded, wanted = compute.encode([pixels])[0][0], reference.encode([pixels])[0][0]
        for _ in range(3):
            question = click_on(encoded, frame)
            expected = reference.answer([click_on(wanted, frame)])[0]
            _require_same([question], compute.answer([question])[0], expected)
    assert device.allocated < 10 << 20


def test_an_image_is_held_in_one_slot_that_others_may_look_at(
    compute: DeviceCompute, device: HostDevice, runner: HostRunner, bag: Image
) -> None:
    pixels, _ = pixels_of(bag)
    (encoded, other), _ = compute.encode([pixels, pixels])
    assert isinstance(encoded, DeviceEncoded)
    assert isinstance(other, DeviceEncoded)
    assert other.slot.embedding.address - encoded.slot.embedding.address == compute.held_bytes
    assert encoded.slot.embedding.__cuda_array_interface__ == {
        "shape": (8, 4, 4),
        "typestr": "<f4",
        "data": (encoded.slot.embedding.address, False),
        "strides": None,
        "version": 3,
        "stream": device.stream,
    }
    assert encoded.slot.masks.shape == (PLANES, 16, 16)
