"""COCO's three forms of a mask, against pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from apsam_serve.console.segmentations import read_segmentation
from apsam_serve.errors import InvalidInputError

COORDINATE = st.one_of(
    st.integers(-6, 46), st.floats(-6, 46), st.floats(-6, 46).map(lambda value: round(value, 1))
)


@given(
    st.lists(st.lists(COORDINATE, min_size=6, max_size=16), min_size=1, max_size=3),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_polygons_are_filled_as_pycocotools_fills_them(
    rings: list[list[float]], size: tuple[int, int]
) -> None:
    rings = [ring[: len(ring) // 2 * 2] for ring in rings]
    height, width = size
    # A side of no length divides by zero there, and draws nothing here.
    rings = [ring for ring in rings if not _has_twin_corners(ring)]
    if rings:
        rle = coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
        found = read_segmentation(rings, height=height, width=width)
        assert np.array_equal(found, coco_mask.decode(rle).astype(bool))


def _has_twin_corners(ring: list[float]) -> bool:
    corners = np.trunc(5 * np.reshape(ring, (-1, 2)) + 0.5)
    return bool((corners == np.roll(corners, 1, axis=0)).all(axis=1).any())


def test_corners_that_are_named_twice_change_nothing() -> None:
    plain = read_segmentation([[2, 1, 9, 1, 9, 7, 2, 7]], height=10, width=12)
    twice = read_segmentation([[2, 1, 2, 1, 9, 1, 9, 7, 9, 7, 2, 7, 2, 1]], height=10, width=12)
    assert plain.sum() == 42
    assert np.array_equal(plain, twice)
    assert not read_segmentation([[3, 3, 3, 3, 3, 3]], height=10, width=12).any()


def test_run_lengths_are_read_packed_and_plain() -> None:
    mask = np.random.default_rng(3).random((9, 13)) < 0.4
    packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
    plain = np.diff([0, *edges, flat.size]).tolist()
    for counts in (packed["counts"].decode(), plain):
        found = read_segmentation({"size": [9, 13], "counts": counts}, height=9, width=13)
        assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "segmentation is 'None'"),
        ([], "expected run lengths"),
        ({"size": [9, 13]}, "expected run lengths"),
        ({"size": [13, 9], "counts": [117]}, "mask is 9 x 13 pixels, its image 13 x 9"),
        ({"size": [9, 13], "counts": [100]}, "add up to 100 pixels"),
        ({"size": [9, 13], "counts": [-3, 120]}, "background first"),
        ({"size": [9, 13], "counts": ["117"]}, "no list of finite numbers"),
        ({"size": [9, 13], "counts": "~"}, "foreign character"),
        ([[1, 2, 3, 4]], "polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "no list of finite numbers"),
        ([[1, 2, 3, 4, 5, 10**400]], "no list of finite numbers"),
        ([[1, 2, 3, 4, 5, 10**9]], "coordinate 1000000000"),
        ([[1, 2, 3, 4, 5, 10**6]], "pixels long"),
        ([7], "no list of finite numbers"),
    ],
)
def test_anything_else_is_refused_by_name(segmentation: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_segmentation(segmentation, height=9, width=13)
