"""Letter-boxing: SAM's geometry, both ways, and the padding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsam_serve.contract.preprocess import (
    PADDING,
    PIXEL_MEAN,
    PIXEL_STD,
    LetterBox,
    check_image,
    letterbox,
)
from apsam_serve.errors import InvalidImageError

SIZES = st.integers(1, 5000)
SIDES = st.sampled_from([64, 512, 1024])


@settings(derandomize=True, max_examples=500, deadline=None)
@given(height=SIZES, width=SIZES, side=SIDES)
def test_the_geometry_is_that_of_resize_longest_side(height: int, width: int, side: int) -> None:
    box = LetterBox.fit(height=height, width=width, side=side)
    # segment_anything.utils.transforms.ResizeLongestSide.get_preprocess_shape, restated.
    scale = side * 1.0 / max(height, width)
    expected = (int(height * scale + 0.5), int(width * scale + 0.5))
    assert (box.model_height, box.model_width) == tuple(max(1, n) for n in expected)
    assert max(box.model_height, box.model_width) == side


@settings(derandomize=True, max_examples=200, deadline=None)
@given(height=SIZES, width=SIZES, side=SIDES, x=st.floats(0, 1), y=st.floats(0, 1))
def test_a_point_comes_back_from_model_pixels(
    height: int, width: int, side: int, x: float, y: float
) -> None:
    box = LetterBox.fit(height=height, width=width, side=side)
    point = np.array([x * width, y * height])
    there = box.to_model(point)
    assert there.dtype == np.float32
    assert (there <= (box.model_width, box.model_height)).all()
    np.testing.assert_allclose(box.to_image(there), point, rtol=1e-6, atol=1e-6)


def test_points_keep_their_leading_axes() -> None:
    box = LetterBox.fit(height=200, width=400, side=64)
    points = np.array([[[100.0, 50.0], [400.0, 200.0]]])
    assert box.to_model(points).tolist() == [[[16, 8], [64, 32]]]
    assert box.to_image(box.to_model(points)).tolist() == points.tolist()


@settings(derandomize=True, max_examples=300, deadline=None)
@given(height=SIZES, width=SIZES, side=SIDES)
def test_valid_cells_are_those_whose_centre_lies_on_the_image(
    height: int, width: int, side: int
) -> None:
    box = LetterBox.fit(height=height, width=width, side=side)
    centres = (np.arange(box.mask_side) + 0.5) * 4
    for found, limit in zip(box.valid_cells, (box.model_height, box.model_width), strict=True):
        assert found == max(1, int((centres < limit).sum()))


def test_a_wide_image_is_padded_at_the_bottom_and_a_tall_one_at_the_right() -> None:
    frame, box = letterbox(np.full((50, 100, 3), 7, np.uint8), side=64)
    assert (box.model_height, box.model_width) == (32, 64)
    assert (frame[:32] == 7).all()
    assert (frame[32:] == PADDING).all()
    frame, box = letterbox(np.full((100, 50, 3), 7, np.uint8), side=64)
    assert (frame[:, :32] == 7).all()
    assert (frame[:, 32:] == PADDING).all()
    assert frame.shape == (64, 64, 3)
    assert frame.dtype == np.uint8


def test_the_padding_byte_is_zero_after_normalisation_within_a_hundredth() -> None:
    zero = (np.array(PADDING) - PIXEL_MEAN) / PIXEL_STD
    assert np.abs(zero).max() < 0.009


def test_an_image_of_the_model_side_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frame, _ = letterbox(image, side=64)
    assert np.array_equal(frame, image)


def test_shrinking_averages_so_that_a_thin_blade_stays_visible() -> None:
    image = np.full((1, 640, 3), 200, np.uint8).repeat(640, axis=0)
    image[:, 301] = 0
    frame, _ = letterbox(image, side=64)
    assert frame[32].min() == 180
    narrow = np.full((1000, 1, 3), 200, np.uint8)
    narrow[::10] = 0
    assert letterbox(narrow, side=100)[0][:, 0].max() == 180


def test_growing_is_bilinear() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)
    frame, _ = letterbox(image, side=64)
    assert np.array_equal(frame[:40], cv2.resize(image, (64, 40), interpolation=cv2.INTER_LINEAR))


def test_a_view_of_a_larger_array_is_accepted() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    view = image[10:90, 90:10:-1]
    assert np.array_equal(letterbox(view, side=64)[0], letterbox(view.copy(), side=64)[0])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]"),
        (np.zeros((4, 4, 3), np.uint16), r"uint16 \[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]"),
    ],
)
def test_another_type_or_shape_is_refused(image: np.ndarray, said: str) -> None:
    with pytest.raises(
        InvalidImageError, match=f"image is {said}; expected uint8 .H, W, 3. in RGB"
    ):
        check_image(image)
    with pytest.raises(InvalidImageError, match=said):
        letterbox(image, side=64)


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidImageError, match="image is 0 x 5 pixels; give at least 1 x 1"):
        LetterBox.fit(height=5, width=0, side=64)
