"""The double behaves like a model where tests rely on it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.local import LocalSegmenter
from apsam_serve.runtime.fake import FakeRunner


@pytest.fixture
def segmenter(model: ModelSpec) -> LocalSegmenter:
    return LocalSegmenter(FakeRunner(model))


def area(segmenter: LocalSegmenter, image: NDArray[np.uint8], prompt: Prompt) -> int:
    (answer,) = segmenter.encode(image).segment([prompt], strategy="direct")
    return int(answer.mask.sum())


def test_a_negative_point_and_a_box_make_the_mask_smaller(
    segmenter: LocalSegmenter, bag: NDArray[np.uint8]
) -> None:
    click = Point(x=25, y=25)
    alone = area(segmenter, bag, Prompt(points=(click,)))
    cut = area(segmenter, bag, Prompt(points=(click, Point(x=30, y=25, positive=False))))
    box = Box(left=20, top=20, right=30, bottom=30)
    boxed = area(segmenter, bag, Prompt(points=(click,), box=box))
    assert 0 < cut < alone
    assert 0 < boxed < alone


def test_air_gives_an_empty_mask(segmenter: LocalSegmenter, bag: NDArray[np.uint8]) -> None:
    (answer,) = segmenter.encode(bag).segment([Prompt.click(75, 5)])
    assert (answer.branch, int(answer.mask.sum())) == ("empty", 0)


@pytest.mark.parametrize(
    ("click", "category"), [((20, 20), "Laptop"), ((60, 40), "Gun"), ((75, 5), None)]
)
def test_the_category_follows_from_what_is_clicked(
    named_model: ModelSpec,
    bag: NDArray[np.uint8],
    click: tuple[float, float],
    category: str | None,
) -> None:
    image = LocalSegmenter(FakeRunner(named_model)).encode(bag)
    (answer,) = image.segment([Prompt.click(*click)], strategy="direct")
    assert answer.category == category
    assert answer.category_probability == pytest.approx(np.exp(5) / (np.exp(5) + 3))


def test_another_image_gives_another_mask(
    segmenter: LocalSegmenter, bag: NDArray[np.uint8]
) -> None:
    flat = np.full_like(bag, 100)
    prompt = Prompt.click(25, 25)
    assert area(segmenter, bag, prompt) > area(segmenter, flat, prompt)
