"""Masks: up-scaling against SAM's own steps, RLE against pycocotools, the other travel forms."""

from __future__ import annotations

import contextlib
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from apsam_serve.contract.masks import (
    Mask,
    Rle,
    decode_png,
    decode_rle,
    dice,
    encode_png,
    encode_rle,
    mask_from_logits,
    mask_iou,
    pack_bits,
    unpack_bits,
)
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.errors import InvalidImageError, InvalidInputError

STABLE = settings(derandomize=True, max_examples=300, deadline=None)
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def _edge_masks() -> dict[str, Mask]:
    masks = {"empty": np.zeros((5, 7), bool), "full": np.ones((5, 7), bool)}
    for y, x in ((0, 0), (4, 0), (0, 6), (4, 6), (2, 3)):
        masks[f"pixel {y} {x}"] = np.zeros((5, 7), bool)
        masks[f"pixel {y} {x}"][y, x] = True
    frame = np.ones((6, 9), bool)
    frame[1:-1, 1:-1] = False
    masks |= {"border": frame, "hole": ~frame, "one": np.ones((1, 1), bool)}
    masks |= {"row": np.ones((1, 40), bool), "column": np.ones((40, 1), bool)}
    masks["stripes"] = np.arange(54).reshape(6, 9) % 2 == 0
    masks["top row"] = np.zeros((6, 9), bool)
    masks["top row"][0] = True
    masks["bottom row"] = masks["top row"][::-1].copy()
    large = np.zeros((3000, 4000), bool)
    large[1500:, 2000:] = True
    masks["run of millions"] = large
    return masks


EDGES = _edge_masks()


# --- up-scaling -------------------------------------------------------------------------------


def _by_definition(logits: NDArray[np.float32], frame: LetterBox) -> NDArray[np.float64]:
    """Every image pixel in float64."""

    def axis(num_pixels: int, num_model: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        place = (np.arange(num_pixels) + 0.5) * num_model / num_pixels / 4 - 0.5
        place = place.clip(0, len(logits) - 1)
        low = np.minimum(np.floor(place).astype(np.intp), max(0, len(logits) - 2))
        return low, place - low

    (y, v), (x, u) = axis(frame.height, frame.model_height), axis(frame.width, frame.model_width)
    grid = np.pad(logits.astype(np.float64), ((0, 1), (0, 1)), mode="edge")
    rows = grid[y] * (1 - v)[:, None] + grid[y + 1] * v[:, None]
    return rows[:, x] * (1 - u) + rows[:, x + 1] * u


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    side=st.sampled_from([4, 8, 64, 128]),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "sparse", "one cell", "beyond the letter-box", "all"]),
)
def test_every_pixel_is_the_interpolated_logit_over_zero(
    height: int, width: int, side: int, seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    frame = LetterBox.fit(height=height, width=width, side=side)
    low = frame.mask_side
    logits = rng.normal(size=(low, low)).astype(np.float32)
    if kind == "sparse":
        logits -= 3
    elif kind == "one cell":
        logits[:] = -1
        logits[rng.integers(low), rng.integers(low)] = 5
    elif kind == "beyond the letter-box":
        logits[: frame.valid_cells[0], : frame.valid_cells[1]] = -1
    elif kind == "all":
        logits = np.abs(logits) + np.float32(0.1)
    exact = _by_definition(logits, frame)
    mask = mask_from_logits(logits, frame)
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    certain = np.abs(exact) > 1e-5
    assert np.array_equal(mask[certain], exact[certain] > 0)


@pytest.mark.parametrize("size", [(800, 1000), (448, 700), (1040, 1428), (1000, 350), (512, 512)])
def test_masks_agree_with_sams_two_steps(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frame = LetterBox.fit(height=size[0], width=size[1], side=512)
    noise = rng.normal(size=(128, 128)).astype(np.float32)
    logits = np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), np.float32) * 20 - 1
    # SAM's postprocess_masks; OpenCV's linear resize is F.interpolate without align_corners.
    upscaled = cv2.resize(logits, (512, 512), interpolation=cv2.INTER_LINEAR)
    cropped = upscaled[: frame.model_height, : frame.model_width]
    sam = cv2.resize(cropped, size[::-1], interpolation=cv2.INTER_LINEAR) > 0
    assert mask_iou(mask_from_logits(logits, frame), sam) > 0.998


def test_a_cell_becomes_a_patch_around_its_centre() -> None:
    logits = np.full((16, 16), -1, np.float32)
    logits[5, 9] = 1
    mask = mask_from_logits(logits, LetterBox.fit(height=64, width=64, side=64))
    y, x = np.nonzero(mask)
    assert (x.min() + x.max() + 1, y.min() + y.max() + 1) == (2 * 38, 2 * 22)


def test_zero_and_negative_logits_are_background() -> None:
    frame = LetterBox.fit(height=30, width=40, side=64)
    assert not mask_from_logits(np.zeros((16, 16), np.float32), frame).any()
    assert not mask_from_logits(np.full((16, 16), -1, np.float32), frame).any()


def test_logits_of_another_side_are_refused() -> None:
    frame = LetterBox.fit(height=30, width=40, side=64)
    with pytest.raises(InvalidInputError, match=r"shape \[128, 128\]; this frame needs \[16, 16\]"):
        mask_from_logits(np.zeros((128, 128), np.float32), frame)


# --- RLE ----------------------------------------------------------------------------------------


def _assert_as_pycocotools(mask: Mask) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="a library of the train extra")
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle = encode_rle(mask)
    assert [rle.height, rle.width] == expected["size"]
    assert rle.counts.encode() == expected["counts"]
    assert np.array_equal(decode_rle(rle), mask)


@pytest.mark.parametrize("name", EDGES)
def test_rle_of_an_edge_case_is_byte_identical_to_pycocotools(name: str) -> None:
    _assert_as_pycocotools(EDGES[name])


@STABLE
@given(mask=MASKS)
def test_rle_of_any_mask_is_byte_identical_to_pycocotools(mask: Mask) -> None:
    _assert_as_pycocotools(mask)


def test_rle_of_large_masks_is_byte_identical_to_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for density in (0.001, 0.1, 0.5, 0.999):
        _assert_as_pycocotools(rng.random((311, 457)) < density)
    noise = cv2.GaussianBlur(rng.normal(size=(800, 1000)), (0, 0), 20)
    _assert_as_pycocotools(noise > 0)
    _assert_as_pycocotools((noise > 0).T)  # a view in the other order


def test_a_small_mask_has_the_published_string() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    assert encode_rle(mask) == Rle(height=4, width=4, counts="52203")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "counts is empty; send counts as pycocotools writes them"),
        ("5 203", "counts has a foreign character at byte 1; send COCO's compressed string"),
        ("52203\n", "counts has a foreign character at byte 5"),
        ("5é", "counts has a foreign character at byte 1"),
        ("5\ud800", "counts has a foreign character at byte 1"),
        ("p", "counts has a foreign character at byte 0"),
        ("522", "counts add up to 9 pixels, the mask has 4 x 4 = 16"),
        ("522033", "counts add up to 21 pixels, the mask has 4 x 4 = 16"),
        ("5O203", "counts hold a run of -1 pixels in a mask of 4 x 4"),
        ("T1", "counts hold a run of 36 pixels in a mask of 4 x 4"),
        ("522P", "counts of 4 characters is cut off"),
        ("ooooooo0", "a run of more than 7 characters; send it whole"),
    ],
)
def test_malformed_counts_are_refused(counts: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_rle(Rle(height=4, width=4, counts=counts))
    assert message in str(caught.value)


@STABLE
@given(counts=st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=40))
def test_any_string_is_decoded_or_refused(counts: str) -> None:
    with contextlib.suppress(InvalidInputError):
        assert decode_rle(Rle(height=6, width=5, counts=counts)).shape == (6, 5)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, -1), (10**6, 10**6)])
def test_a_size_over_the_limit_is_refused_before_memory_is_taken(height: int, width: int) -> None:
    with pytest.raises(InvalidInputError, match="expected 1 to 24000000 pixels"):
        decode_rle(Rle(height=height, width=width, counts="0"))
    with pytest.raises(InvalidInputError, match="expected 1 to 24000000 pixels"):
        unpack_bits(b"", height=height, width=width)


# --- bits and PNG -------------------------------------------------------------------------------


@STABLE
@given(mask=MASKS)
def test_packed_bits_come_back(mask: Mask) -> None:
    packed = pack_bits(mask)
    assert np.array_equal(unpack_bits(packed, height=mask.shape[0], width=mask.shape[1]), mask)
    assert zlib.decompress(packed) == np.packbits(mask.ravel()).tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "packed bits do not unpack to 5 bytes, which a mask of 7 x 5 has"),
        (b"garbage", "packed bits are damaged"),
        (zlib.compress(b"\0" * 4), "do not unpack to 5 bytes"),
        (zlib.compress(b"\0" * 6), "do not unpack to 5 bytes"),
        (zlib.compress(b"\0" * 10_000_000), "do not unpack to 5 bytes"),
        (zlib.compress(b"\0" * 5) + b"more", "do not unpack to 5 bytes"),
        (zlib.compress(b"\0" * 5)[:-2], "do not unpack to 5 bytes"),
    ],
)
def test_other_packed_bits_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unpack_bits(data, height=5, width=7)


@pytest.mark.parametrize("name", EDGES)
def test_a_png_comes_back_and_has_one_bit_per_pixel(name: str) -> None:
    data = encode_png(EDGES[name])
    assert data[24:26] == b"\x01\x00"  # IHDR: bit depth 1, grey
    assert np.array_equal(decode_png(data), EDGES[name])


def test_a_mask_of_another_format_is_refused() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    with pytest.raises(InvalidImageError, match="mask is a jpeg file; send a PNG"):
        decode_png(jpeg)


# --- measures -----------------------------------------------------------------------------------


@STABLE
@given(pair=hnp.arrays(bool, (2, 9, 11)))
def test_iou_and_dice_are_their_definitions(pair: NDArray[np.bool_]) -> None:
    a, b = pair
    both, either = (a & b).sum(), (a | b).sum()
    assert mask_iou(a, b) == (both / either if either else 1.0)
    assert dice(a, b) == (2 * both / (a.sum() + b.sum()) if either else 1.0)


def test_two_empty_masks_agree() -> None:
    nothing = np.zeros((4, 4), bool)
    assert mask_iou(nothing, nothing) == dice(nothing, nothing) == 1.0
    assert mask_iou(nothing, ~nothing) == dice(nothing, ~nothing) == 0.0


def test_masks_of_different_images_are_not_compared() -> None:
    with pytest.raises(InvalidInputError, match=r"shapes \[4, 4\] and \[4, 5\]"):
        mask_iou(np.zeros((4, 4), bool), np.zeros((4, 5), bool))


@pytest.mark.parametrize("call", [encode_rle, pack_bits, encode_png])
@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]"),
        (np.zeros((4, 4, 1), bool), r"bool \[4, 4, 1\]"),
        (np.zeros((0, 4), bool), r"bool \[0, 4\]"),
    ],
)
def test_what_is_no_mask_is_refused(call: object, mask: np.ndarray, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"mask is {said}; expected bool"):
        call(mask)  # type: ignore[operator]
