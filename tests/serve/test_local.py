"""A bundle in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.errors import BundleError, HandleGoneError, InvalidImageError, InvalidPromptError
from apsam_serve.local import open_bundle
from apsam_serve.runtime.base import RunnerOptions


@pytest.mark.parametrize("backend", ["fake", "onnxruntime"])
@pytest.mark.parametrize("strategy", ["direct", "apg"])
def test_each_prompt_is_answered_in_order(
    tiny_bundle: Path, bag: NDArray[np.uint8], backend: str, strategy: str
) -> None:
    segmenter = open_bundle(tiny_bundle, backend=backend, options=RunnerOptions(threads=1))
    image = segmenter.encode(bag)
    prompts = [
        Prompt.click(20, 20),
        Prompt(points=(Point(x=58, y=38), Point(x=60, y=38)), box=None),
        Prompt(points=(Point(x=25, y=25),), box=Box(left=10, top=10, right=40, bottom=40)),
    ]
    together = image.segment(prompts, strategy=strategy)  # type: ignore[arg-type]
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = image.segment([prompt], strategy=strategy)  # type: ignore[arg-type]
        assert answer.mask.shape == bag.shape[:2]
        assert np.array_equal(answer.mask, alone.mask)
        assert 0 <= answer.score <= 1
        assert answer.low_res_logits is not None
    segmenter.close()


def test_a_previous_answer_can_be_refined(tiny_bundle: Path, bag: NDArray[np.uint8]) -> None:
    image = open_bundle(tiny_bundle, backend="fake").encode(bag)
    (first, other) = image.segment([Prompt.click(20, 20), Prompt.click(30, 20)], strategy="direct")
    more = Prompt(points=(Point(x=20, y=20),), mask_logits=other.low_res_logits)
    (second,) = image.segment([more], strategy="direct")
    assert not np.array_equal(second.mask, first.mask)


def test_wrong_arrays_and_clicks_are_refused(tiny_bundle: Path, bag: NDArray[np.uint8]) -> None:
    segmenter = open_bundle(tiny_bundle, backend="fake")
    with pytest.raises(InvalidImageError, match=r"float64 \[60, 80, 3\]; expected uint8"):
        segmenter.encode(bag.astype(float))  # type: ignore[arg-type]
    image = segmenter.encode(bag)
    with pytest.raises(InvalidPromptError, match=r"click \(80, 5\) lies outside.*80 x 60"):
        image.segment([Prompt.click(80, 5)])
    image.release()
    with pytest.raises(HandleGoneError, match="released"):
        image.segment([Prompt.click(5, 5)])


def test_a_bundle_with_a_changed_byte_is_refused(fresh_bundle: Path) -> None:
    file = fresh_bundle / "image_encoder.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"image_encoder\.onnx is not the file.*SHA-256"):
        open_bundle(fresh_bundle)
