"""Ours and what people use today, in turns, on the same images, clicks and weights."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Prompt
from bench.load_accuracy import Reference
from bench.measure.distribution import ratio
from bench.measure.document import Figure, MaskIou, Row
from bench.measure.points import same_points
from bench.measure.rounds import interleaved, told
from bench.measure.workload import Workload
from bench.peers import Answer, Peer, Peers

OURS = "grpc"
NAMES = {
    "grpc": "APSAM through gRPC",
    "in_process": "APSAM in process",
    "predictor": "SamPredictor eager, scikit-learn",
    "compiled": "SamPredictor torch.compile, scikit-learn",
    "onnx_decoder": "SAM's ONNX decoder, scikit-learn",
}
LEAST_IOU = 0.99
"""A peer whose masks agree less with ours, on average, does something else."""
SAME_POINT_PX = 0.5
"""Image pixels between points that count as the same."""
_PAUSE_S = 0.05
"""Before each block of calls: by then the threads of the library that ran before have stopped to
wait for more work on a busy core."""


@dataclass(kw_only=True)
class Took:
    """What a peer did. clicks_ms: one after the other; first_ms: after a pause, as operators click,
    and after another peer has had the caches; encodes_ms: in order of time, the same calls for
    every peer; answers: by click."""

    clicks_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    encodes_ms: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answers: list[Answer] = field(default_factory=list)


def in_turns(peers: Peers, workload: Workload, *, rounds: int) -> dict[str, Took]:
    """Every click once after a pause and then `rounds` times by every peer, in an order drawn anew
    for each click; on every image `rounds` encodes before that, at most 3. An encode and a click of
    each come before all, not counted: they compile, and load what was not loaded."""
    first, prompt = workload.clicks[0]
    for peer in peers.values():
        peer.encode(workload.images[first])
        peer.click(prompt)
    draw = random.Random(0)
    took = {name: Took() for name in peers}
    for number, image in enumerate(told(workload.images, "images, every peer")):
        prompts = [prompt for where, prompt in workload.clicks if where == number]
        encodes = {name: partial(peer.encode, image) for name, peer in peers.items()}
        found = interleaved(
            encodes, rounds=min(rounds, 3), warm_up=0, seed=number, pause_s=_PAUSE_S
        )
        for name, values in found.items():
            took[name].encodes_ms += values
        for prompt in prompts:
            for name in draw.sample(list(peers), len(peers)):
                _click(peers[name], prompt, took[name], rounds=rounds)
    return took


def rows_of(took: Mapping[str, Took], reference: Reference, *, preset: str) -> list[Row]:
    """Clicks and encodes of every peer; the note says which are not compared, and why."""
    rows = []
    for name, one in took.items():
        same, iou = agreement(one.answers, took[OURS].answers)
        why = refusal(iou)
        masks = {click: [answer.mask] for click, answer in enumerate(one.answers)}
        rows.append(
            Row(
                name=NAMES.get(name, name),
                group=f"in turns: click, {preset}",
                samples=one.clicks_ms,
                mask_iou=reference.compare(masks),
                stages={stage: ms for stage, ms in one.stages.items() if any(ms)},
                figures={"iou_with_ours": iou, "same_points_share": same},
                note=f"not compared: {why}" if why else "",
            )
        )
    for group, samples in (
        (f"in turns: click after a pause, {preset}", {n: one.first_ms for n, one in took.items()}),
        (f"in turns: encode, {preset}", {n: one.encodes_ms for n, one in took.items()}),
    ):
        rows += [
            Row(name=NAMES.get(name, name), group=group, samples=ms) for name, ms in samples.items()
        ]
    return rows


def left_out(reasons: Mapping[str, str], *, preset: str) -> list[Row]:
    """Peers that cannot run here."""
    return [
        Row(
            name=NAMES.get(name, name),
            group=f"in turns: click, {preset}",
            samples=(),
            note=f"not compared: {reason}",
        )
        for name, reason in reasons.items()
    ]


def figures_of(took: Mapping[str, Took], *, preset: str, rounds: int) -> list[Figure]:
    """How many times as long each peer takes that does the same: `click_vs_predictor_tiny`.
    rounds: clicks of one block, which share what the machine did meanwhile."""
    figures = []
    ours = took[OURS]
    for name, one in took.items():
        if name == OURS:
            continue
        same, iou = agreement(one.answers, ours.answers)
        for verb, theirs_ms, ours_ms, block in (
            ("click", one.clicks_ms, ours.clicks_ms, rounds),
            ("click_after_pause", one.first_ms, ours.first_ms, None),
            ("encode", one.encodes_ms, ours.encodes_ms, None),
        ):
            key, alike = f"{verb}_vs_{name}_{preset}", f"mask IoU {iou:.4f}, same points {same:.0%}"
            if why := refusal(iou):
                figures.append(Figure(key=key, value=0, detail=alike, refused=why))
                continue
            times = ratio(theirs_ms, ours_ms, paired=True, block=block)
            medians = f"{np.median(theirs_ms):.1f} over {np.median(ours_ms):.1f} ms"
            figures.append(
                Figure(
                    key=key,
                    value=times.value,
                    low=times.low,
                    high=times.high,
                    detail=f"{medians}, {alike}",
                )
            )
    return figures


def refusal(iou: float) -> str:
    """Why a peer whose masks have this mean IoU with ours must not be compared; empty where it
    may. Points may differ: one of another precision lies a cell away, and the mask is the same."""
    if iou >= LEAST_IOU:
        return ""
    return f"its masks have mean IoU {iou:.4f} with ours, under {LEAST_IOU}"


def agreement(theirs: Sequence[Answer], ours: Sequence[Answer]) -> tuple[float, float]:
    """(share of the clicks with the same points, mean IoU of the masks)."""
    pairs = list(zip(theirs, ours, strict=True))
    same = [same_points(one.points, other.points, within=SAME_POINT_PX) for one, other in pairs]
    values = [mask_iou(one.mask, other.mask) for one, other in pairs]
    return float(np.mean(same)), MaskIou.of(values).mean


def _click(peer: Peer, prompt: Prompt, took: Took, *, rounds: int) -> None:
    """A block of clicks; the first answer is the one that is judged."""
    time.sleep(_PAUSE_S)
    for number in range(-1, rounds):
        started = time.perf_counter()
        answer = peer.click(prompt)
        passed_ms = 1000 * (time.perf_counter() - started)
        if number < 0:
            took.answers.append(answer)
            took.first_ms.append(passed_ms)
            continue
        took.clicks_ms.append(passed_ms)
        for stage, seconds in answer.stages.items():
            took.stages[stage].append(1000 * seconds)
