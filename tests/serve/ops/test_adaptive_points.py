"""The kernel against the contract's NumPy code: the same bits in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig, ApgResult, adaptive_points
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt
from apsam_serve.ops.kernels import ADAPTIVE_POINTS, BRANCHES, FALLBACKS
from apsam_serve.prompting import apg
from apsam_serve.prompting.base import DecoderOutput
from tests.serve.ops.launchers import Launcher
from tests.serve.ops.shapes import random_logits, random_prompts, tied_logits

Arrays = Mapping[str, NDArray[np.generic]]
NUM_MASKS = 3
CONFIGS = {
    "the paper": ApgConfig(),
    "core": ApgConfig(core=2.0),
    "a core no mask has": ApgConfig(core=9.0),
    "a core that is no float32": ApgConfig(core=0.1, max_iterations=1000),
    "training": ApgConfig(scale_range=(0.9, 1.1), max_iterations=3),
    "any box": ApgConfig(scale_range=(0.2, 3.0), tau=30),
    "every two pixels": ApgConfig(tau=0, max_iterations=1),
    "draws": ApgConfig(tau=1e9, scale_range=(0.9, 1.1)),
    "draws in the box": ApgConfig(tau=1e9, fallback="box", scale_range=(0.9, 1.1)),
}


def _launch(
    kernels: Launcher,
    inputs: Arrays,
    config: ApgConfig,
    num_points: int,
    left_out: Sequence[str] = (),
) -> dict[str, NDArray[np.generic]]:
    num, num_masks, side = inputs["logits"].shape[:3]
    out: dict[str, NDArray[np.generic]] = {
        "coords": np.full((num, num_points, 2), -7, np.float32),
        "labels": np.full((num, num_points), -7, np.float32),
        "branch": np.full(num, -7, np.int32),
        "assignment": np.full((num, side, side), -7, np.int8),
        "box": np.full((num, 4), -7, np.float64),
        "centroids": np.full((num, 2, 2), -7, np.float64),
    }
    values = {
        **inputs,
        **out,
        **dict.fromkeys(left_out),
        "num_masks": num_masks,
        "side": side,
        "core": config.core,
        "tau": config.tau,
        "max_iterations": config.max_iterations,
        "fallback": FALLBACKS.index(config.fallback),
        "scale_low": config.scale_range[0],
        "scale_high": config.scale_range[1],
        "num_old": inputs["old_labels"].shape[1],
        "num_points": num_points,
    }
    kernels.launch(ADAPTIVE_POINTS, (num, 1), values)
    return out


def _inputs(rng: np.random.Generator, num: int, side: int) -> dict[str, NDArray[np.generic]]:
    """Masks under test among others, which the kernel must not look at."""
    best = rng.integers(0, NUM_MASKS, num).astype(np.int32)
    logits = np.full((num, NUM_MASKS, side, side), np.inf, np.float32)
    logits[np.arange(num), best] = random_logits(rng, num, side)
    valid = rng.integers(1, side + 1, (num, 2)).astype(np.int32)
    valid[::2] = side
    coords, labels = random_prompts(rng, num)
    return {
        "logits": logits,
        "best": best,
        "valid_cells": valid,
        "seeds": rng.integers(0, 2**64, num, np.uint64),
        "old_coords": coords,
        "old_labels": labels,
    }


def _expected(inputs: Arrays, config: ApgConfig) -> list[ApgResult]:
    return [
        adaptive_points(
            masks[best],
            valid_cells=(int(valid[0]), int(valid[1])),
            config=_seeded(config, seed),
        )
        for masks, best, valid, seed in zip(
            inputs["logits"], inputs["best"], inputs["valid_cells"], inputs["seeds"], strict=True
        )
    ]


def _seeded(config: ApgConfig, seed: np.uint64) -> ApgConfig:
    return ApgConfig(**{**vars(config), "seed": int(seed)})


def _second_prompts(inputs: Arrays, config: ApgConfig) -> list[DecoderPrompt | None]:
    """What prompting.apg decodes second; None where the first mask is empty."""
    side = inputs["logits"].shape[-1]
    prompts: list[DecoderPrompt | None] = []
    for p in range(len(inputs["best"])):
        rows, columns = inputs["valid_cells"][p].tolist()
        frame = LetterBox(
            height=1, width=1, side=4 * side, model_height=4 * rows, model_width=4 * columns
        )
        assert frame.valid_cells == (rows, columns)
        iou = np.zeros(NUM_MASKS, np.float32)
        iou[inputs["best"][p]] = 1
        first = DecoderPrompt(coords=inputs["old_coords"][p], labels=inputs["old_labels"][p])
        running = apg.strategy(first, frame, _seeded(config, inputs["seeds"][p]))
        next(running)
        try:
            prompts.append(running.send(DecoderOutput(logits=inputs["logits"][p], iou=iou)))
        except StopIteration:
            prompts.append(None)
    return prompts


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("side", "num"), [(4, 39), (20, 130), (64, 130), (128, 65), (256, 26)])
def test_everything_is_as_the_reference_has_it(
    kernels: Launcher, config: ApgConfig, side: int, num: int
) -> None:
    inputs = _inputs(np.random.default_rng(side), num, side)
    found = _launch(kernels, inputs, config, num_points=9)
    for p, expected in enumerate(_expected(inputs, config)):
        assert BRANCHES[found["branch"][p]] == expected.branch
        assert np.array_equal(found["assignment"][p], expected.assignment)
        assert found["box"][p].tolist() == list(expected.box)
        assert np.array_equal(found["centroids"][p], expected.centroids, equal_nan=True)
        if expected.branch != "empty":
            assert np.array_equal(found["coords"][p, :2], expected.points)


def test_pixels_exactly_between_the_ends_are_assigned_as_by_the_reference(
    kernels: Launcher,
) -> None:
    """Where a quotient without the common divisor would round to the other side."""
    inputs = _inputs(np.random.default_rng(0), 500, 128)
    inputs["logits"][:] = tied_logits(np.random.default_rng(0), 500, 128)[:, None]
    config = ApgConfig(tau=0, max_iterations=1)
    found = _launch(kernels, inputs, config, num_points=9)
    for assignment, expected in zip(found["assignment"], _expected(inputs, config), strict=True):
        assert np.array_equal(assignment, expected.assignment)


@pytest.mark.parametrize("seed", range(8))
def test_the_second_prompt_is_the_strategys(kernels: Launcher, seed: int) -> None:
    inputs = _inputs(np.random.default_rng(seed), 26, 32)
    num_points = 9
    found = _launch(kernels, inputs, ApgConfig(), num_points)
    for p, prompt in enumerate(_second_prompts(inputs, ApgConfig())):
        if (
            prompt is None
        ):  # the old one again, because a decode that is not looked at must not fail
            coords, labels = inputs["old_coords"][p], inputs["old_labels"][p]
        else:
            coords, labels = prompt.coords, prompt.labels
        padding = num_points - len(labels)
        assert np.array_equal(found["coords"][p], np.pad(coords, ((0, padding), (0, 0))))
        assert np.array_equal(found["labels"][p], np.pad(labels, (0, padding), constant_values=-1))


def test_a_prompt_that_does_not_fit_is_cut_off(kernels: Launcher) -> None:
    inputs = _inputs(np.random.default_rng(0), 1, 16)
    inputs["logits"][:] = -1
    inputs["old_coords"] = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    inputs["old_labels"] = np.ones((1, 6), np.float32)
    found = _launch(kernels, inputs, ApgConfig(), num_points=3)
    assert BRANCHES[found["branch"][0]] == "empty"
    assert np.array_equal(found["coords"], inputs["old_coords"][:, :3])


def test_what_tests_look_at_may_be_left_out(kernels: Launcher) -> None:
    inputs = _inputs(np.random.default_rng(1), 26, 32)
    whole, bare = (
        _launch(kernels, inputs, ApgConfig(), 9, left_out=left_out)
        for left_out in ((), ("assignment", "box", "centroids"))
    )
    for name in ("coords", "labels", "branch"):
        assert np.array_equal(whole[name], bare[name])


@pytest.mark.parametrize("threads", [3, 32])
def test_any_number_of_threads_gives_the_same(kernels: Launcher, threads: int) -> None:
    inputs = _inputs(np.random.default_rng(2), 26, 64)
    for config in (CONFIGS["training"], CONFIGS["draws"]):
        one = _launch(kernels, inputs, config, 9)
        many = _launch(kernels.with_threads(threads), inputs, config, 9)
        for name, values in one.items():
            assert np.array_equal(values, many[name], equal_nan=True), name
