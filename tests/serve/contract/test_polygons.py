"""Masks as outlines, there and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from apsam_serve.contract.masks import Mask
from apsam_serve.contract.polygons import MAX_BYTES, decode_polygons, encode_polygons
from apsam_serve.errors import InvalidInputError

STABLE = settings(derandomize=True, max_examples=300, deadline=None)
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def filled(mask: Mask) -> Mask:
    """Without holes, the reference: background that no path along edges leads out of."""
    return np.asarray(binary_fill_holes(mask), bool)


def back(mask: Mask) -> Mask:
    return decode_polygons(encode_polygons(mask), height=mask.shape[0], width=mask.shape[1])


@STABLE
@given(mask=MASKS)
def test_a_mask_comes_back_with_its_holes_filled(mask: Mask) -> None:
    assert np.array_equal(back(mask), filled(mask))


@STABLE
@given(
    noise=hnp.arrays(np.uint8, (19, 23), elements=st.integers(0, 9)),
    least=st.integers(1, 9),
)
def test_sparse_and_dense_masks_come_back(noise: NDArray[np.uint8], least: int) -> None:
    """Single pixels, pixels that touch at corners, lines of one pixel, holes with islands."""
    mask = noise >= least
    assert np.array_equal(back(mask), filled(mask))
    assert np.array_equal(back(mask.T), filled(mask.T))


@pytest.mark.parametrize(
    ("rows", "rings"),
    [
        (["....", "...."], []),
        (["...", ".#."], [[[1, 1]]]),
        ([".####", "....."], [[[1, 0], [4, 0]]]),
        (["#..", ".#.", "..#"], [[[0, 0], [2, 2]]]),
        (["###", "#.#", "###"], [[[0, 0], [0, 2], [2, 2], [2, 0]]]),
        (["#.###", "..###"], [[[2, 0], [2, 1], [4, 1], [4, 0]], [[0, 0]]]),
        (["#.....", "..####"], [[[2, 1], [5, 1]], [[0, 0]]]),
    ],
    ids=["empty", "pixel", "line", "diagonal", "hole", "largest first", "lines by length"],
)
def test_rings_name_the_corners_of_the_rim(rows: list[str], rings: list[object]) -> None:
    mask = np.array([[character == "#" for character in row] for row in rows])
    assert json.loads(encode_polygons(mask)) == rings


def test_points_between_pixels_go_to_the_nearest() -> None:
    mask = decode_polygons(b"[[[0.6, 0.4], [2.5, 0.4], [2.4, 1.0]]]", height=3, width=4)
    assert np.array_equal(np.argwhere(mask), [[0, 1], [0, 2], [1, 2]])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "polygons are no JSON"),
        (b"\xff\xfe", "polygons are no JSON"),
        (b"[[[1,2]", "polygons are no JSON"),
        (b"[" * 200_000, "polygons are no JSON"),
        (b"[[[1," + b"9" * 5000 + b"]]]", "polygons are no JSON"),
        (b" " * (MAX_BYTES + 1), "polygons have 16777217 bytes; send at most 16777216"),
        (b'{"rings": []}', "polygons are a JSON dict; send a list of rings"),
        (b"[[]]", "ring 0 is not a list of .x, y. numbers with at least one point"),
        (b"[[[1,2]],[1,2]]", "ring 1 is not a list"),
        (b"[[[1,2],[3]]]", "ring 0 is not a list"),
        (b"[[[1,2,3]]]", "ring 0 is not a list"),
        (b'[[["1","2"]]]', "ring 0 is not a list"),
        (b"[[[true,false]]]", "ring 0 is not a list"),
        (b"[[[null,1]]]", "ring 0 is not a list"),
        (b"[null]", "ring 0 is not a list"),
        (b"[[[NaN,1]]]", r"ring 0 has the point \(nan, 1.0\); give 0 <= x <= 6 and 0 <= y <= 4"),
        (b"[[[1e999,1]]]", r"ring 0 has the point \(inf, 1.0\)"),
        (b"[[[0,0]],[[3,2],[7,2]]]", r"ring 1 has the point \(7, 2\); give 0 <= x <= 6"),
        (b"[[[0,-1]]]", r"ring 0 has the point \(0, -1\)"),
        (b"[" + b",".join([b"[[0,0],[6,0],[6,4],[0,4]]"] * 2) + b"]", "rings cover 70 pixels"),
        (b"[[" + b",".join([b"[0,0],[6,4]"] * 50) + b"]]", "are 600 long, too much for a mask of"),
    ],
)
def test_what_is_no_list_of_rings_inside_the_image_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        decode_polygons(data, height=5, width=7)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, -1), (5000, 5000)])
def test_sizes_of_no_image_are_refused(height: int, width: int) -> None:
    with pytest.raises(InvalidInputError, match="expected 1 to 24000000 pixels"):
        decode_polygons(b"[]", height=height, width=width)


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"mask is uint8 \[4, 4\]; expected bool"):
        encode_polygons(np.zeros((4, 4), np.uint8))  # type: ignore[arg-type]
