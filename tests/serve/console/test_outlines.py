"""Outlines against pycocotools: filled again, they are the mask to the pixel."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.console.exports.outlines import Ring, pieces, polygon, polygons
from apsam_serve.contract.masks import Mask
from tests.serve.console.filled import SHAPES, block


def filled(rings: list[Ring], mask: Mask) -> NDArray[np.bool_]:
    """As pycocotools fills polygons: the union of all of them."""
    height, width = mask.shape
    rles = coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return np.asarray(coco_mask.decode(coco_mask.merge(rles)), bool)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_filled_again_to_the_pixel(name: str) -> None:
    mask = SHAPES[name]
    assert np.array_equal(filled(polygons(mask), mask), mask)
    assert np.array_equal(filled([polygon(mask)], mask), mask)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()))
def test_any_mask_is_filled_again_to_the_pixel(mask: Mask) -> None:
    if mask.any():
        assert np.array_equal(filled(polygons(mask), mask), mask)
        assert np.array_equal(filled([polygon(mask)], mask), mask)
    else:
        assert polygons(mask) == []
        assert polygon(mask).shape == (0, 2)


def test_a_rectangle_is_its_four_corners_and_holes_stay_with_their_piece() -> None:
    (ring,) = polygons(block(4, 5, 24, 20))
    assert {tuple(corner) for corner in ring.tolist()} == {(4, 5), (24, 5), (24, 20), (4, 20)}
    assert [len(rings) for rings in pieces(SHAPES["with holes"])] == [3]
    assert sorted(len(rings) for rings in pieces(SHAPES["an island in a hole"])) == [1, 2]
    assert len(polygons(SHAPES["touching at a corner"])) == 1


def test_a_large_mask_of_a_thousand_holes_takes_no_minute() -> None:
    pixels: NDArray[np.uint8] = np.zeros((800, 1000), np.uint8)
    disc = cv2.circle(pixels, (500, 400), 300, 1, -1).astype(bool)
    disc &= np.random.default_rng(0).random(disc.shape) > 0.004
    started = time.perf_counter()
    ring = polygon(disc)
    assert time.perf_counter() - started < 10
    assert np.array_equal(filled([ring], disc), disc)
