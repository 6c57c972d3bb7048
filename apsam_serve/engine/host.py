"""What runs on the host's thread pool: pixels before the device, masks after it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract import images
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import Prompt, check_prompts
from apsam_serve.engine.replies import Pack, PackedSegmentation, Timings
from apsam_serve.prompting.base import Answer


def load_image(
    data: bytes, *, max_pixels: int, side: int, prompts: Sequence[Prompt] | None
) -> tuple[NDArray[np.uint8], LetterBox, Timings]:
    """Decode and letter-box an image file: (uint8 [S, S, 3], its place, seconds by stage).

    Prompts that come along are checked here, before the device works for a call that must fail.
    """
    started = time.perf_counter()
    image = images.decode(data, max_pixels=max_pixels)
    if prompts is not None:
        check_prompts(prompts, height=image.shape[0], width=image.shape[1])
    frame, box = letterbox(image, side=side)
    return frame, box, {"image": time.perf_counter() - started}


def pack_answers(
    answers: Sequence[Answer], frame: LetterBox, pack: Pack, *, categories: Sequence[str]
) -> tuple[list[PackedSegmentation], Timings]:
    """Masks of image size, packed: (segmentations, seconds by stage). categories: the model's."""
    started = time.perf_counter()
    shown = [answer.segmentation(frame, {}, categories=categories) for answer in answers]
    resized = time.perf_counter()
    packed = [
        PackedSegmentation(
            data=pack(one.mask),
            score=one.score,
            points=one.points,
            branch=one.branch,
            category=one.category,
            category_probability=one.category_probability,
        )
        for one in shown
    ]
    return packed, {"mask": resized - started, "serialise": time.perf_counter() - resized}
