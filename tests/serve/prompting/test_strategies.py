"""Strategies: what they ask the decoder, and what they answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig, adaptive_points
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import (
    MAX_DECODER_POINTS,
    MAX_POINTS,
    Box,
    DecoderPrompt,
    Point,
    Prompt,
    to_decoder,
)
from apsam_serve.errors import InvalidPromptError
from apsam_serve.prompting import load
from apsam_serve.prompting.base import Answer, DecoderOutput, Running

FRAME = LetterBox.fit(height=300, width=400, side=64)
CONFIG = ApgConfig()
L = FRAME.mask_side


def _output(mask: NDArray[np.bool_], *, iou: float = 0.8) -> DecoderOutput:
    """Four masks, of which the third is the best."""
    logits = np.full((4, L, L), -5, np.float32)
    logits[2] = np.where(mask, 3, -3)
    return DecoderOutput(logits=logits, iou=np.array([0.1, 0.2, iou, 0.3], np.float32))


def _bar(left: int = 2, right: int = 12) -> NDArray[np.bool_]:
    mask = np.zeros((L, L), bool)
    mask[5, left:right] = True
    return mask


def _finish(running: Running, output: DecoderOutput) -> Answer:
    with pytest.raises(StopIteration) as stop:
        running.send(output)
    answer = stop.value.value
    assert isinstance(answer, Answer)
    return answer


def _start(name: str, prompt: Prompt) -> tuple[Running, DecoderPrompt]:
    running = load(name)(to_decoder(prompt, FRAME), FRAME, CONFIG)
    return running, next(running)


def test_direct_asks_once_and_answers_with_the_best_mask() -> None:
    running, asked = _start("direct", Prompt.click(100, 50))
    assert asked.coords.tolist() == [[16, 8], [0, 0]]
    answer = _finish(running, _output(_bar()))
    assert np.array_equal(answer.logits > 0, _bar())
    assert answer.score == pytest.approx(0.8)
    assert answer.branch == "direct"
    assert answer.points.tolist() == [[16, 8]]
    assert answer.labels.tolist() == [1]


def test_direct_passes_an_earlier_mask_on() -> None:
    logits = np.ones((L, L), np.float32)
    _, asked = _start("direct", Prompt(points=(Point(x=1, y=1),), mask_logits=logits))
    assert asked.mask_logits is logits


def test_apg_asks_again_with_the_two_points_of_the_first_mask() -> None:
    running, first = _start("apg", Prompt.click(100, 50))
    assert first.labels.tolist() == [1, -1]
    second = running.send(_output(_bar()))
    assert second.coords.tolist() == [[10, 22], [46, 22], [0, 0]]
    assert second.labels.tolist() == [1, 1, -1]
    answer = _finish(running, _output(_bar(2, 14), iou=0.9))
    assert np.array_equal(answer.logits > 0, _bar(2, 14))
    assert answer.score == pytest.approx(0.9)
    assert answer.branch == "clusters"
    assert answer.points.tolist() == [[10, 22], [46, 22]]


def test_apg_keeps_negative_points_and_the_box_and_replaces_positive_ones() -> None:
    points = (Point(x=100, y=50), Point(x=200, y=100, positive=False))
    running, first = _start(
        "apg", Prompt(points=points, box=Box(left=0, top=0, right=400, bottom=300))
    )
    assert first.labels.tolist() == [1, 0, 2, 3]
    second = running.send(_output(_bar()))
    corners = first.coords[2:].tolist()
    assert second.coords.tolist() == [[10, 22], [46, 22], [32, 16], *corners]
    assert second.labels.tolist() == [1, 1, 0, 2, 3]


def test_apg_answers_an_empty_first_mask_with_the_prompt_itself() -> None:
    running, _ = _start("apg", Prompt.click(100, 50))
    answer = _finish(running, _output(np.zeros((L, L), bool)))
    assert answer.branch == "empty"
    assert answer.points.tolist() == [[16, 8]]
    assert not (answer.logits > 0).any()


def test_apg_sees_no_foreground_beyond_the_image() -> None:
    mask = np.zeros((L, L), bool)
    mask[FRAME.valid_cells[0] :] = True
    running, _ = _start("apg", Prompt.click(100, 50))
    assert _finish(running, _output(mask)).branch == "empty"


def test_apg_falls_back_on_a_mask_of_one_pixel() -> None:
    mask = np.zeros((L, L), bool)
    mask[3, 4] = True
    running, _ = _start("apg", Prompt.click(100, 50))
    second = running.send(_output(mask))
    assert second.coords.tolist() == [[18, 14], [18, 14], [0, 0]]
    assert _finish(running, _output(mask)).branch == "fallback"


def test_apg_follows_its_configuration() -> None:
    config = ApgConfig(tau=1e9, seed=5)
    running = load("apg")(to_decoder(Prompt.click(100, 50), FRAME), FRAME, config)
    next(running)
    logits = _output(_bar()).logits[2]
    expected = adaptive_points(logits, valid_cells=FRAME.valid_cells, config=config)
    assert expected.branch == "fallback"
    assert np.array_equal(running.send(_output(_bar())).coords[:2], expected.points)


@pytest.mark.parametrize(("name", "asks"), [("direct", 1), ("apg", 2)])
def test_the_category_is_that_of_the_last_decode(name: str, asks: int) -> None:
    running, _ = _start(name, Prompt.click(100, 50))
    outputs = [replace(_output(_bar()), category_logits=np.eye(3)[2 - i]) for i in range(asks)]
    for output in outputs[:-1]:
        running.send(output)
    assert _finish(running, outputs[-1]).category_logits is outputs[-1].category_logits


@pytest.mark.parametrize(
    ("logits", "category", "probability"),
    [
        ([0, 0, np.log(2)], "Bullet", 0.5),
        ([1000, 0, 0], None, 1.0),
        ([np.log(3), 0, 0], None, 0.6),
        (None, None, None),
    ],
)
def test_an_answer_names_the_most_probable_class(
    logits: list[float] | None, category: str | None, probability: float | None
) -> None:
    answer = Answer(
        logits=_output(_bar()).logits[2],
        score=0.5,
        points=np.zeros((0, 2), np.float32),
        labels=np.zeros(0, np.float32),
        branch="direct",
        category_logits=None if logits is None else np.array(logits, np.float32),
    )
    named = answer.segmentation(FRAME, {}, categories=("Gun", "Bullet"))
    assert named.category == category
    assert named.category_probability == (
        None if probability is None else pytest.approx(probability)
    )


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidPromptError) as caught:
        load("base")
    assert str(caught.value) == "strategy 'base' is unknown; choose one of direct, apg"


@pytest.mark.parametrize(("iou", "score"), [(1.3, 1.0), (-0.2, 0.2)])
def test_the_score_is_clipped_to_what_an_iou_can_be(iou: float, score: float) -> None:
    output = DecoderOutput(
        logits=np.zeros((2, L, L), np.float32), iou=np.array([score, iou], np.float32)
    )
    assert output.best()[1] == pytest.approx(score)


def test_a_negative_iou_scores_zero() -> None:
    output = DecoderOutput(logits=np.zeros((1, L, L), np.float32), iou=np.array([-0.5], np.float32))
    assert output.best()[1] == 0


def test_an_answer_in_image_pixels_has_clicks_but_no_corners() -> None:
    answer = Answer(
        logits=_output(_bar()).logits[2],
        score=0.5,
        points=np.array([[16, 8], [32, 16], [0, 0], [64, 48]], np.float32),
        labels=np.array([1, 0, 2, 3], np.float32),
        branch="direct",
    )
    segmentation = answer.segmentation(FRAME, {"decode_1": 1.5})
    assert segmentation.points == (Point(x=100, y=50), Point(x=200, y=100, positive=False))
    assert segmentation.mask.shape == (300, 400)
    assert segmentation.mask[137, 175]
    assert not segmentation.mask[200:].any()
    assert (segmentation.score, segmentation.branch) == (0.5, "direct")
    assert segmentation.low_res_logits is answer.logits
    assert segmentation.timings_s["decode_1"] == 1.5
    assert segmentation.timings_s["mask"] > 0


def test_the_longest_decode_is_the_one_that_plans_have_room_for() -> None:
    negatives = tuple(Point(x=i, y=1, positive=False) for i in range(MAX_POINTS))
    box = Box(left=0, top=0, right=400, bottom=300)
    lengths = []
    for prompt in (Prompt(points=negatives), Prompt(points=negatives, box=box)):
        running, first = _start("apg", prompt)
        second = running.send(_output(_bar()))
        lengths += [len(first.labels), len(second.labels)]
    assert lengths == [17, 19, 18, 20]
    assert max(lengths) == MAX_DECODER_POINTS
