"""Which decode answers, and its mask copied to where it is kept."""

from __future__ import annotations

import numpy as np
import pytest

from apsam_serve.ops.kernels import BRANCHES, CHOOSE_DECODE, KEEP_MASKS
from tests.serve.ops.launchers import HostKernels, Launcher

NUM_MASKS = 3


@pytest.mark.parametrize("threads", [None, 3])
@pytest.mark.parametrize("num", [1, 7, 100])
def test_the_first_decode_answers_where_its_mask_is_empty(
    kernels: Launcher, num: int, threads: int | None
) -> None:
    rng = np.random.default_rng(num)
    branch = rng.integers(0, len(BRANCHES), num).astype(np.int32)
    first, second = (rng.integers(0, NUM_MASKS, num).astype(np.int32) for _ in range(2))
    chosen = np.full(num, -7, np.int32)
    arrays = {"branch": branch, "first": first, "second": second, "chosen": chosen}
    sizes = {"num_prompts": num, "num_masks": NUM_MASKS}
    kernels.with_threads(threads).launch(CHOOSE_DECODE, (1, 1), {**arrays, **sizes})
    named = np.arange(2 * num * NUM_MASKS).reshape(2, num, NUM_MASKS)
    empty = branch == BRANCHES.index("empty")
    for p in range(num):
        decode, best = (0, first[p]) if empty[p] else (1, second[p])
        assert p * NUM_MASKS + chosen[p] == named[decode, p, best]


@pytest.mark.parametrize("threads", [None, 3])
@pytest.mark.parametrize("side", [4, 20, 128])
@pytest.mark.parametrize("num_blocks", [1, 3])
def test_chosen_masks_go_to_their_planes_and_nowhere_else(
    host_kernels: HostKernels, side: int, threads: int | None, num_blocks: int
) -> None:
    """Addresses lie inside an argument, which only the host build shares with NumPy; on a GPU it is
    asked in tests/serve/engine."""
    rng = np.random.default_rng(side)
    logits = rng.normal(size=(5, NUM_MASKS, side, side)).astype(np.float32)
    best = rng.integers(0, NUM_MASKS, 5).astype(np.int32)
    planes = np.zeros((7, side, side), np.float32)
    places = [6, None, 2, 3, None]
    addresses = [0 if place is None else planes[place].ctypes.data for place in places]
    values = {
        "logits": logits,
        "best": best,
        "planes": np.array(addresses, np.int64),
        "num_masks": NUM_MASKS,
        "side": side,
    }
    host_kernels.with_threads(threads).launch(KEEP_MASKS, (num_blocks, 5), values)
    expected = np.zeros_like(planes)
    for p, place in enumerate(places):
        if place is not None:
            expected[place] = logits[p, best[p]]
    assert np.array_equal(planes, expected)
