"""What runs on the host: pixels before the device, on a thread pool, and masks after it, on another
or, small ones, on the event loop (`pipeline.Pipeline.pack`)."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract import inputs
from apsam_serve.contract.inputs import ImageInput, Pixels
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import Prompt, check_prompts
from apsam_serve.engine.proposals import Peak, ProposeOptions, without_overlaps
from apsam_serve.engine.replies import Pack, PackedSegmentation, Proposal, Timings
from apsam_serve.prompting.base import Answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """pixels: letter-boxed, [S, S, 3]; frame: where the image lies in them; digest: of the image as
    sent; timings_s: seconds by stage."""

    pixels: Pixels
    frame: LetterBox
    digest: str
    timings_s: Timings


def load_image(
    image: ImageInput, *, max_pixels: int, side: int, prompts: Sequence[Prompt]
) -> Loaded:
    """Decode and letter-box what was sent.

    Prompts that come along are checked here, before the device works for a call that must fail.
    """
    started = time.perf_counter()
    pixels = inputs.load(image, max_pixels=max_pixels)
    if prompts:
        check_prompts(prompts, height=pixels.image.shape[0], width=pixels.image.shape[1])
    digest = inputs.digest(image)
    boxed, frame = inputs.letterboxed(pixels, side=side)
    timings = {"image": time.perf_counter() - started}
    return Loaded(pixels=boxed, frame=frame, digest=digest, timings_s=timings)


def pack_answers(
    answers: Sequence[Answer],
    mask_ids: Sequence[str],
    frame: LetterBox,
    pack: Pack,
    *,
    categories: Sequence[str],
) -> tuple[list[PackedSegmentation], Timings]:
    """Masks of image size, packed: (segmentations, seconds by stage). categories: the model's."""
    started = time.perf_counter()
    masks = [answer.mask(frame) for answer in answers]
    resized = time.perf_counter()
    packed = [
        _packed(answer, mask, mask_id, frame, pack, categories)
        for answer, mask, mask_id in zip(answers, masks, mask_ids, strict=True)
    ]
    return packed, {"mask": resized - started, "serialise": time.perf_counter() - resized}


def pack_proposals(
    peaks: Sequence[Peak],
    answers: Sequence[Answer],
    frame: LetterBox,
    pack: Pack,
    options: ProposeOptions,
    *,
    categories: Sequence[str],
) -> tuple[list[Proposal], Timings]:
    """As `pack_answers`, of those that are good enough and new, the strongest peak first."""
    started = time.perf_counter()
    masks = [answer.mask(frame) for answer in answers]
    good = [
        index
        for index, answer in enumerate(answers)
        if answer.score >= options.min_score and masks[index].any()
    ]
    kept = without_overlaps([masks[index] for index in good], options.max_overlap)
    chosen = [good[index] for index in kept[: options.max_proposals]]
    resized = time.perf_counter()
    proposals = [
        Proposal(
            click=peaks[index].click,
            attention=peaks[index].attention,
            segmentation=_packed(answers[index], masks[index], "", frame, pack, categories),
        )
        for index in chosen
    ]
    return proposals, {"mask": resized - started, "serialise": time.perf_counter() - resized}


def _packed(
    answer: Answer,
    mask: NDArray[np.bool_],
    mask_id: str,
    frame: LetterBox,
    pack: Pack,
    categories: Sequence[str],
) -> PackedSegmentation:
    category, probability = answer.category(categories)
    data = pack(mask)
    return PackedSegmentation(
        data=data,
        crc32=zlib.crc32(data),
        sha256=hashlib.sha256(data).hexdigest(),
        area=int(np.count_nonzero(mask)),
        score=answer.score,
        points=answer.clicks(frame),
        branch=answer.branch,
        category=category,
        category_probability=probability,
        mask_id=mask_id,
    )
