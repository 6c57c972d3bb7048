from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt
from bench.load_accuracy import Reference
from bench.load_peers import figures_of, in_turns, left_out, refusal, rows_of
from bench.measure.workload import Workload
from bench.peers import Answer, Peers

IMAGE = np.zeros((20, 20, 3), np.uint8)
WORKLOAD = Workload(
    images=[IMAGE, IMAGE],
    files=[b"", b""],
    clicks=[(0, Prompt.click(3, 4)), (0, Prompt.click(5, 6)), (1, Prompt.click(7, 8))],
)


def square(size: int = 10, *points: tuple[float, float]) -> Answer:
    mask = np.zeros((20, 20), bool)
    mask[:size, :size] = True
    chosen = np.array(points or [(1, 2), (8, 9)], np.float32)
    return Answer(mask=mask, points=chosen, stages={"decode_1": 0.002, "encode": 0.0})


class Fake:
    """Answers every click alike."""

    def __init__(self, name: str, answer: Answer, log: list[str]) -> None:
        self.name = name
        self.answer = answer
        self.log = log

    def encode(self, image: NDArray[np.uint8]) -> None:
        self.log.append(f"encode {self.name}")

    def click(self, prompt: Prompt) -> Answer:
        self.log.append(f"{self.name} {prompt.points[0].x:.0f}")
        return self.answer

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def peers_of(log: list[str], **answers: Answer) -> Peers:
    peers = Peers()
    peers.update({name: Fake(name, answer, log) for name, answer in answers.items()})
    return peers


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (square(), ""),
        (square(10, (8, 9), (1.2, 2)), ""),
        (square(9), "not compared: its masks have mean IoU 0.8100 with ours, under 0.99"),
        (square(10, (1, 2), (8, 12)), "not compared: only 0% of its adaptive points are ours"),
        (square(10, (1, 2)), "not compared: only 0% of its adaptive points are ours"),
    ],
)
def test_a_peer_that_answers_otherwise_is_not_compared(theirs: Answer, why: str) -> None:
    log: list[str] = []
    took = in_turns(peers_of(log, grpc=square(), predictor=theirs), WORKLOAD, rounds=4)
    assert refusal(took["predictor"].answers, took["grpc"].answers) == why
    figures = figures_of(took, preset="tiny")
    expected = [] if why else ["click", "click_after_pause", "encode"]
    assert [figure.key for figure in figures] == [f"{verb}_vs_predictor_tiny" for verb in expected]
    ours, other, *_ = rows_of(took, reference_of(square()), preset="tiny")
    assert (ours.note, other.note) == ("", why)


def test_everybody_gets_the_same_calls_and_every_call_is_counted() -> None:
    log: list[str] = []
    took = in_turns(peers_of(log, grpc=square(), predictor=square()), WORKLOAD, rounds=4)
    for one in took.values():
        assert len(one.clicks_ms) == len(one.stages["decode_1"]) == 3 * 4
        assert len(one.encodes_ms) == 2 * 3
        assert len(one.answers) == len(one.first_ms) == 3
    alike = [
        [line.replace(name, "") for line in log if name in line] for name in ("grpc", "predictor")
    ]
    assert alike[0] == alike[1]
    click, _, first, _, encode, _ = rows_of(took, reference_of(square()), preset="tiny")
    assert [row.group for row in (click, first, encode)] == [
        "in turns: click, tiny",
        "in turns: click after a pause, tiny",
        "in turns: encode, tiny",
    ]
    assert click.mask_iou is not None
    assert (click.mask_iou.num, click.mask_iou.minimum) == (3, 1.0)
    assert click.stages.keys() == {"decode_1"}


def test_a_peer_that_cannot_run_here_has_a_row_that_says_why() -> None:
    (row,) = left_out({"compiled": "no compiler"}, preset="tiny")
    assert (len(row.samples), row.note) == (0, "not compared: no compiler")


def reference_of(answer: Answer) -> Reference:
    return Reference(masks=[answer.mask] * 3, name="a square")
