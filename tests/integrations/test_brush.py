"""Label Studio's run lengths: what its own SDK writes, and what its page reads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from integrations.label_studio.brush import encode_brush
from tests.integrations.brushes import decode_brush


def test_bytes_are_those_of_the_sdk() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:5] = mask[0, 0] = True
    sdk = "0000008c391bfc7ff87c02dffdf00b7ff7c02dffe23000"  # mask2rle of label-studio-sdk 2.1.2
    assert bytes(encode_brush(mask)).hex() == sdk


def checkers() -> NDArray[np.bool_]:
    return np.indices((6, 9)).sum(axis=0) % 2 == 0


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 4), bool),
        np.ones((3, 4), bool),
        np.eye(40, 33, dtype=bool),
        checkers(),
        np.arange(300 * 400).reshape(300, 400) > 17,  # runs that no length field holds
    ],
    ids=["empty", "full", "diagonal", "checkers", "long runs"],
)
def test_every_mask_comes_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)
