"""`run`: many strategies in lockstep, in batches of equal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Box, DecoderPrompt, Point, Prompt, to_decoder
from apsam_serve.prompting import load
from apsam_serve.prompting.base import DecoderOutput, Running, run

FRAME = LetterBox.fit(height=64, width=64, side=64)
L = FRAME.mask_side


class Recorder:
    """Answers every prompt with a disc around its first point, and remembers the batches."""

    def __init__(self, *, radius: float = 12) -> None:
        self.radius = radius
        self.calls: list[tuple[list[int], list[int]]] = []

    def __call__(
        self, which: Sequence[int], prompts: Sequence[DecoderPrompt]
    ) -> list[DecoderOutput]:
        self.calls.append((list(which), [len(prompt.labels) for prompt in prompts]))
        return [self._disc(prompt) for prompt in prompts]

    def _disc(self, prompt: DecoderPrompt) -> DecoderOutput:
        y, x = (np.mgrid[:L, :L] + 0.5) * 4
        distance = np.hypot(x - prompt.coords[0, 0], y - prompt.coords[0, 1])
        logits = (self.radius - distance).astype(np.float32)
        return DecoderOutput(logits=logits[None], iou=np.array([0.5], np.float32))


def _start(name: str, prompt: Prompt) -> Running:
    return load(name)(to_decoder(prompt, FRAME), FRAME, ApgConfig())


def _clicks(*places: tuple[float, float]) -> Prompt:
    return Prompt(points=tuple(Point(x=x, y=y) for x, y in places))


def test_nobody_asks_nobody_answers() -> None:
    recorder = Recorder()
    answers, timings = run([], recorder)
    assert (answers, timings, recorder.calls) == ([], {}, [])


def test_one_direct_prompt_is_one_decode() -> None:
    recorder = Recorder()
    (answer,), timings = run([_start("direct", Prompt.click(20, 20))], recorder)
    assert recorder.calls == [([0], [2])]
    assert answer.points.tolist() == [[20, 20]]
    assert set(timings) == {"points", "decode_1"}
    assert all(seconds >= 0 for seconds in timings.values())


def test_prompts_of_equal_length_share_a_batch_and_others_do_not() -> None:
    recorder = Recorder()
    prompts = [
        _clicks((10, 10)),
        _clicks((20, 20), (25, 20)),
        _clicks((30, 30)),
        Prompt(box=Box(left=5, top=5, right=40, bottom=40)),
        _clicks((40, 40), (45, 40)),
    ]
    answers, _ = run([_start("direct", prompt) for prompt in prompts], recorder)
    assert recorder.calls == [([0, 2, 3], [2, 2, 2]), ([1, 4], [3, 3])]
    firsts = [answer.points[0].tolist() for answer in answers]
    assert firsts == [[10, 10], [20, 20], [30, 30], [5, 5], [40, 40]]


def test_strategies_that_end_early_leave_the_next_round() -> None:
    recorder = Recorder()
    strategies = [
        _start("apg", _clicks((20, 20))),
        _start("direct", _clicks((30, 30))),
        _start("apg", _clicks((40, 40), (45, 40))),
    ]
    answers, timings = run(strategies, recorder)
    assert recorder.calls == [([0, 1], [2, 2]), ([2], [3]), ([0, 2], [3, 3])]
    assert [answer.branch for answer in answers] == ["clusters", "direct", "clusters"]
    assert set(timings) == {"points", "decode_1", "decode_2"}


def test_apg_on_empty_masks_takes_one_round() -> None:
    recorder = Recorder(radius=-1)
    (answer,), timings = run([_start("apg", Prompt.click(20, 20))], recorder)
    assert answer.branch == "empty"
    assert len(recorder.calls) == 1
    assert set(timings) == {"points", "decode_1"}


def test_an_answer_does_not_depend_on_who_else_asks() -> None:
    prompts = [_clicks((20, 20)), _clicks((30, 40), (31, 41)), _clicks((50, 10))]
    together, _ = run([_start("apg", prompt) for prompt in prompts], Recorder())
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,), _ = run([_start("apg", prompt)], Recorder())
        assert np.array_equal(alone.logits, answer.logits)
        assert np.array_equal(alone.points, answer.points)


def test_a_decoder_that_loses_an_answer_is_found_out() -> None:
    strategies = [_start("direct", Prompt.click(20, 20)) for _ in range(2)]
    with pytest.raises(ValueError, match="zip"):
        run(strategies, lambda which, prompts: Recorder()(which, prompts)[:1])


def test_an_error_of_the_decoder_reaches_the_caller() -> None:
    def broken(which: Sequence[int], prompts: Sequence[DecoderPrompt]) -> list[DecoderOutput]:
        raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        run([_start("direct", Prompt.click(20, 20))], broken)
