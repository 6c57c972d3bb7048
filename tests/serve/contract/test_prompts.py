"""Prompts: what is refused, with which words, and the decoder's form of what is not."""

from __future__ import annotations

import numpy as np
import pytest

from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import (
    Box,
    DecoderBatch,
    Point,
    Prompt,
    check_prompt,
    check_prompts,
    decoder_points,
    to_decoder,
)
from apsam_serve.errors import InvalidPromptError

HEIGHT, WIDTH = 300, 400
FRAME = LetterBox.fit(height=HEIGHT, width=WIDTH, side=64)
NAN, INF = float("nan"), float("inf")


def _clicks(count: int) -> Prompt:
    return Prompt(points=tuple(Point(x=i % 7, y=1) for i in range(count)))


def _box(left: float, top: float, right: float, bottom: float) -> Prompt:
    return Prompt(box=Box(left=left, top=top, right=right, bottom=bottom))


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt.click(0, 0),
        Prompt.click(399.99, 299.99),
        _clicks(16),
        _box(0, 0, 400, 300),
        _box(10.5, 20, 11, 20.5),
        Prompt(points=(Point(x=1, y=2, positive=False),)),
        Prompt(points=(Point(x=1, y=2),), box=Box(left=0, top=0, right=5, bottom=5)),
    ],
)
def test_a_prompt_on_the_image_is_accepted(prompt: Prompt) -> None:
    check_prompt(prompt, height=HEIGHT, width=WIDTH)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(), "prompt has 0 points and no box; give at least one of them"),
        (_clicks(17), "prompt has 17 points; give at most 16"),
        (_clicks(10_000), "prompt has 10000 points; give at most 16"),
        (
            Prompt.click(400, 5),
            "click (400, 5) lies outside the image of 400 x 300 pixels; "
            "give 0 <= x < 400 and 0 <= y < 300",
        ),
        (
            Prompt.click(5, 300),
            "click (5, 300) lies outside the image of 400 x 300 pixels; "
            "give 0 <= x < 400 and 0 <= y < 300",
        ),
        (
            Prompt.click(-0.5, 5),
            "click (-0.5, 5) lies outside the image of 400 x 300 pixels; "
            "give 0 <= x < 400 and 0 <= y < 300",
        ),
        (
            Prompt.click(1e300, 5),
            "click (1e+300, 5) lies outside the image of 400 x 300 pixels; "
            "give 0 <= x < 400 and 0 <= y < 300",
        ),
        (Prompt.click(NAN, 5), "click (nan, 5) is not a number; give finite pixel coordinates"),
        (Prompt.click(5, INF), "click (5, inf) is not a number; give finite pixel coordinates"),
        (Prompt.click(5, -INF), "click (5, -inf) is not a number; give finite pixel coordinates"),
        (
            _box(10, 10, 10, 20),
            "box (10, 10, 10, 20) is empty or outside the image of 400 x 300 pixels; "
            "give 0 <= left < right <= 400 and 0 <= top < bottom <= 300",
        ),
        (
            _box(10, 20, 15, 10),
            "box (10, 20, 15, 10) is empty or outside the image of 400 x 300 pixels; "
            "give 0 <= left < right <= 400 and 0 <= top < bottom <= 300",
        ),
        (
            _box(-1, 0, 401, 300),
            "box (-1, 0, 401, 300) is empty or outside the image of 400 x 300 pixels; "
            "give 0 <= left < right <= 400 and 0 <= top < bottom <= 300",
        ),
        (
            _box(0, NAN, 5, 5),
            "box (0, nan, 5, 5) is not a number; give finite pixel coordinates",
        ),
    ],
)
def test_a_refusal_says_the_value_what_was_expected_and_what_to_give(
    prompt: Prompt, message: str
) -> None:
    with pytest.raises(InvalidPromptError) as caught:
        check_prompt(prompt, height=HEIGHT, width=WIDTH)
    assert str(caught.value) == message


@pytest.mark.parametrize("count", [0, 65, 1000])
def test_a_call_with_too_few_or_too_many_prompts_is_refused(count: int) -> None:
    with pytest.raises(InvalidPromptError, match=f"call has {count} prompts; give 1 to 64"):
        check_prompts([Prompt.click(1, 1)] * count, height=HEIGHT, width=WIDTH)


def test_a_call_of_64_prompts_is_accepted() -> None:
    check_prompts([Prompt.click(1, 1)] * 64, height=HEIGHT, width=WIDTH)


def test_one_wrong_prompt_spoils_the_call() -> None:
    with pytest.raises(InvalidPromptError, match="outside"):
        check_prompts([Prompt.click(1, 1), Prompt.click(999, 1)], height=HEIGHT, width=WIDTH)


def test_points_become_model_pixels_and_end_in_the_padding_point() -> None:
    points = (Point(x=100, y=50), Point(x=200, y=100, positive=False))
    decoder = to_decoder(Prompt(points=points), FRAME)
    assert decoder.coords.tolist() == [[16, 8], [32, 16], [0, 0]]
    assert decoder.labels.tolist() == [1, 0, -1]
    assert decoder.coords.dtype == decoder.labels.dtype == np.float32
    assert decoder.mask_logits is None


def test_a_box_is_two_corner_points_and_takes_no_padding_point() -> None:
    decoder = to_decoder(_box(100, 50, 200, 100), FRAME)
    assert decoder.coords.tolist() == [[16, 8], [32, 16]]
    assert decoder.labels.tolist() == [2, 3]


def test_points_come_before_the_corners_of_the_box() -> None:
    prompt = Prompt(points=(Point(x=50, y=50),), box=Box(left=100, top=50, right=200, bottom=100))
    decoder = to_decoder(prompt, FRAME)
    assert decoder.labels.tolist() == [1, 2, 3]
    assert decoder.coords[0].tolist() == [8, 8]


def test_decoder_points_can_leave_the_padding_point_out() -> None:
    decoder = decoder_points(np.array([[1.0, 2.0]]), np.array([1]), pad=False)
    assert decoder.coords.tolist() == [[1, 2]]
    assert decoder.labels.tolist() == [1]


def test_an_earlier_mask_travels_along() -> None:
    logits = np.ones((16, 16), np.float32)
    decoder = to_decoder(Prompt(points=(Point(x=1, y=1),), mask_logits=logits), FRAME)
    assert decoder.mask_logits is logits


@pytest.mark.parametrize("shape", [(16, 15), (128, 128), (1, 16, 16)])
def test_an_earlier_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    prompt = Prompt(points=(Point(x=1, y=1),), mask_logits=np.ones(shape, np.float32))
    with pytest.raises(InvalidPromptError) as caught:
        to_decoder(prompt, FRAME)
    assert str(caught.value) == f"mask_logits has shape {list(shape)}; expected [16, 16]"


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_earlier_mask_that_is_not_finite_is_refused(value: float) -> None:
    logits = np.zeros((16, 16), np.float32)
    logits[3, 4] = value
    with pytest.raises(InvalidPromptError, match="mask_logits holds NaN or infinity; send back"):
        to_decoder(Prompt(points=(Point(x=1, y=1),), mask_logits=logits), FRAME)


def test_a_batch_stacks_prompts_and_marks_which_have_an_earlier_mask() -> None:
    plain = to_decoder(Prompt.click(100, 50), FRAME)
    refined = to_decoder(
        Prompt(points=(Point(x=0, y=0),), mask_logits=np.full((16, 16), 3, np.float32)), FRAME
    )
    batch = DecoderBatch.of([plain, refined], mask_side=16)
    assert batch.coords.shape == (2, 2, 2)
    assert batch.labels.tolist() == [[1, -1], [1, -1]]
    assert batch.has_mask_input.tolist() == [0, 1]
    assert (batch.mask_input[0] == 0).all()
    assert (batch.mask_input[1] == 3).all()
