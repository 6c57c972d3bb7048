"""The choice of a mask, and whether the decoder answered numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.ops.kernels import BEST_MASK
from apsam_serve.prompting.base import DecoderOutput
from tests.serve.ops.launchers import Launcher
from tests.serve.ops.shapes import Floats


def _launch(kernels: Launcher, iou: Floats, logits: Floats) -> dict[str, NDArray[np.generic]]:
    out: dict[str, NDArray[np.generic]] = {
        "best": np.full(len(iou), -7, np.int32),
        "score": np.full(len(iou), -7, np.float32),
        "finite": np.full(len(iou), -7, np.int32),
    }
    sizes = {"num_masks": iou.shape[1], "side": logits.shape[-1]}
    kernels.launch(BEST_MASK, (len(iou), 1), {"iou": iou, "logits": logits, **sizes, **out})
    return out


@pytest.mark.parametrize("threads", [None, 3, 32])
@pytest.mark.parametrize("num_masks", [1, 3, 4])
def test_the_first_highest_mask_is_chosen(
    kernels: Launcher, threads: int | None, num_masks: int
) -> None:
    rng = np.random.default_rng(num_masks)
    iou = rng.choice([-0.5, 0.25, 0.5, 1.5], (40, num_masks)).astype(np.float32)
    logits = rng.normal(size=(40, num_masks, 8, 8)).astype(np.float32)
    found = _launch(kernels.with_threads(threads), iou, logits)
    for p in range(40):
        mask, score = DecoderOutput(logits=logits[p], iou=iou[p]).best()
        assert np.array_equal(logits[p, found["best"][p]], mask)
        assert found["best"][p] == iou[p].argmax()
        assert found["score"][p] == np.float32(score)
    assert found["finite"].all()


@pytest.mark.parametrize(("threads", "side"), [(None, 12), (3, 12), (32, 12), (None, 128)])
def test_one_value_that_is_no_number_is_found_wherever_it_is(
    kernels: Launcher, threads: int | None, side: int
) -> None:
    """Also where a thread of the kernel's own 1024 reads several times."""
    rng = np.random.default_rng(0)
    for broken in (np.nan, np.inf, -np.inf):
        iou = rng.random((30, 4)).astype(np.float32)
        logits = rng.normal(size=(30, 4, side, side)).astype(np.float32)
        logits[:, 0, 0, 0] = np.finfo(np.float32).max  # the largest number is one
        for p in range(10):
            iou[p, p % 4] = broken
            logits[10 + p].reshape(-1)[rng.integers(0, logits[0].size)] = broken
        found = _launch(kernels.with_threads(threads), iou, logits)
        assert found["finite"].tolist() == [0] * 20 + [1] * 10
        assert ((found["best"] >= 0) & (found["best"] < 4)).all()
