from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt
from bench import load_peers
from bench.load_accuracy import Reference
from bench.load_peers import figures_of, in_turns, left_out, rows_of
from bench.measure.workload import Workload
from bench.peers import Answer, Peers

IMAGE = np.zeros((20, 20, 3), np.uint8)
WORKLOAD = Workload(
    images=[IMAGE, IMAGE],
    files=[b"", b""],
    clicks=[(0, Prompt.click(3, 4)), (0, Prompt.click(5, 6)), (1, Prompt.click(7, 8))],
)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_peers, "_PAUSE_S", 0.0)


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
    ("theirs", "why", "same"),
    [
        (square(), "", 1),
        (square(10, (8, 9), (1.2, 2)), "", 1),
        (square(10, (1, 2), (8, 12)), "", 0),
        (square(10, (1, 2)), "", 0),
        (square(9), "its masks have mean IoU 0.8100 with ours, under 0.99", 1),
    ],
)
def test_a_peer_that_answers_other_masks_is_not_compared(
    theirs: Answer, why: str, same: float
) -> None:
    """Of other points the share is told, for masks are what is asked for."""
    took = in_turns(peers_of([], grpc=square(), predictor=theirs), WORKLOAD, rounds=4)
    figures = figures_of(took, preset="tiny", rounds=4)
    assert [figure.key for figure in figures] == [
        f"{verb}_vs_predictor_tiny" for verb in ("click", "click_after_pause", "encode")
    ]
    for figure in figures:
        assert figure.refused == why
        assert (figure.value == 0) == bool(why)
        assert figure.detail.endswith(f"same points {same:.0%}")
    ours, other, *_ = rows_of(took, reference_of(square()), preset="tiny")
    assert (ours.note, other.note) == ("", f"not compared: {why}" if why else "")
    assert other.figures["same_points_share"] == same


def test_clicks_of_a_block_are_drawn_together() -> None:
    """Blocks in which all clicks take alike say as much as one click each."""
    took = in_turns(peers_of([], grpc=square(), predictor=square()), WORKLOAD, rounds=4)
    took["grpc"].clicks_ms = [1.0] * 12
    took["predictor"].clicks_ms = [2.0] * 4 + [3.0] * 4 + [4.0] * 4
    click, *_ = figures_of(took, preset="tiny", rounds=4)
    assert (click.value, click.low, click.high) == (3, 2, 4)


def test_first_calls_of_all_are_not_counted() -> None:
    log: list[str] = []
    took = in_turns(peers_of(log, grpc=square(), predictor=square()), WORKLOAD, rounds=1)
    assert log[:4] == ["encode grpc", "grpc 3", "encode predictor", "predictor 3"]
    assert sum("encode" in line for line in log[4:]) == sum(
        len(one.encodes_ms) for one in took.values()
    )


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
