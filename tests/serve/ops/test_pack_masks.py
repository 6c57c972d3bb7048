"""Mask bits of the image against the contract's up-scaling: every pixel the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_from_logits
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.ops.kernels import PACK_MASKS
from tests.serve.ops.launchers import Launcher
from tests.serve.ops.shapes import Floats, random_logits

NUM_MASKS = 2


def _launch(
    kernels: Launcher, logits: Floats, best: NDArray[np.int32], frames: Sequence[LetterBox]
) -> list[NDArray[np.uint8]]:
    """The bits of every prompt; between two prompts' bytes one is left alone."""
    sizes = [(f.height, f.width, f.model_height, f.model_width) for f in frames]
    num_bytes = [-(-f.height * f.width // 8) for f in frames]
    offsets = np.cumsum([0, *(n + 1 for n in num_bytes)], dtype=np.int64)
    packed = np.full(offsets[-1], 0xA5, np.uint8)
    values = {
        "logits": logits,
        "best": best,
        "frames": np.array(sizes, np.int32),
        "offsets": offsets[:-1].copy(),
        "num_masks": NUM_MASKS,
        "side": logits.shape[-1],
        "packed": packed,
    }
    kernels.launch(PACK_MASKS, (2, len(frames)), values)
    assert (packed[offsets[1:] - 1] == 0xA5).all()
    return [packed[begin : begin + n] for begin, n in zip(offsets[:-1], num_bytes, strict=True)]


def _compare(kernels: Launcher, side: int, sizes: Sequence[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = len(sizes)
    best = rng.integers(0, NUM_MASKS, num).astype(np.int32)
    logits = np.full((num, NUM_MASKS, side, side), np.nan, np.float32)
    logits[np.arange(num), best] = random_logits(rng, num, side)
    frames = [LetterBox.fit(height=h, width=w, side=4 * side) for h, w in sizes]
    for p, bits in enumerate(_launch(kernels, logits, best, frames)):
        expected = np.packbits(mask_from_logits(logits[p, best[p]], frames[p]))
        assert np.array_equal(bits, expected), sizes[p]


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 300), (300, 1), (2, 3), (7, 9), (511, 13), (512, 512), (300, 517), (640, 480)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_every_pixel_is_as_the_reference_has_it(kernels: Launcher, size: tuple[int, int]) -> None:
    _compare(kernels, 128, [size] * 13, seed=size[0])


@pytest.mark.parametrize("side", [4, 20, 64, 128, 256])
def test_prompts_of_several_images_are_packed_in_one_launch(kernels: Launcher, side: int) -> None:
    rng = np.random.default_rng(side)
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 250, (39, 2))]
    _compare(kernels, side, sizes, seed=side)


@pytest.mark.parametrize("threads", [3, 32])
def test_any_number_of_threads_gives_the_same(kernels: Launcher, threads: int) -> None:
    _compare(kernels.with_threads(threads), 64, [(120, 77), (3, 500)] * 6, seed=threads)
