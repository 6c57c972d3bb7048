"""TIFF files: each layout that is accepted, and every other one refused by name."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import Order, tiff
from numpy.typing import NDArray

from apsam_serve.contract.images import ImageHeader, decode, probe
from apsam_serve.errors import InvalidImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (37, 53), np.uint8)
COLOUR = RNG.integers(0, 256, (37, 53, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (37, 53, 3), np.uint16)


def _expected(image: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    bits = image.astype(np.int64)
    reduced = (bits + 128) // 257 if image.dtype == np.uint16 else bits
    return np.broadcast_to(reduced.reshape(37, 53, -1), (37, 53, 3)).astype(np.uint8)


def _refusal(data: bytes) -> str:
    with pytest.raises(InvalidImageError) as caught:
        decode(data)
    return str(caught.value)


@pytest.mark.parametrize(
    "image", [GREY, COLOUR, DEEP, DEEP[:, :, 0]], ids=["8", "8x3", "16x3", "16"]
)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("deflated", [False, True], ids=["raw", "deflated"])
@pytest.mark.parametrize("differences", [False, True], ids=["plain", "differences"])
@pytest.mark.parametrize("layout", [{}, {"rows_per_strip": 8}, {"tile": 16}], ids=str)
def test_every_accepted_layout_gives_the_same_pixels(
    image: NDArray[np.unsignedinteger],
    order: Order,
    deflated: bool,
    differences: bool,
    layout: dict[str, int],
) -> None:
    data = tiff(image, order=order, deflated=deflated, differences=differences, **layout)  # type: ignore[arg-type]
    assert np.array_equal(decode(data), _expected(image))
    channels = 1 if image.ndim == 2 else 3
    assert probe(data) == ImageHeader(
        format="tiff", width=53, height=37, channels=channels, bits=8 * image.dtype.itemsize
    )


def test_white_is_zero_is_turned_round() -> None:
    assert np.array_equal(decode(tiff(~GREY, tag_262=(0,))), _expected(GREY))
    deep = DEEP[:, :, 0]
    assert np.array_equal(decode(tiff(~deep, tag_262=(0,))), _expected(deep))


def test_of_several_pages_the_first_is_taken() -> None:
    page = tiff(GREY)
    assert np.array_equal(decode(tiff(GREY, next_page=len(page)) + page), _expected(GREY))


def test_a_page_that_names_itself_as_the_next_is_read_once() -> None:
    data = tiff(GREY)
    (directory,) = struct.unpack_from("<I", data, 4)
    assert np.array_equal(decode(tiff(GREY, next_page=directory)), _expected(GREY))


def test_files_of_another_writer_are_read() -> None:
    tifffile = pytest.importorskip("tifffile", reason="no dependency of this project")
    for options in ({}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, DEEP, photometric="rgb", **options)
        assert np.array_equal(decode(buffer.getvalue()), _expected(DEEP))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tag_258": (4,)}, "bits per sample [4]; expected one of [8, 16]"),
        ({"tag_258": (32,)}, "bits per sample [32]"),
        ({"tag_258": None}, "bits per sample [1]"),
        ({"tag_259": (5,)}, "compression (1 is none, 8 and 32946 are deflate) [5]"),
        ({"tag_259": (7,)}, "deflate) [7]"),
        ({"tag_262": (3,)}, "photometric interpretation (0 and 1 are grey, 2 is RGB) [3]"),
        ({"tag_277": (4,)}, "samples per pixel [4]; expected one of [1, 3]"),
        ({"tag_284": (2,)}, "planar configuration [2]"),
        ({"tag_317": (3,)}, "predictor [3]"),
        ({"tag_339": (3,)}, "sample format (1 is unsigned) [3]"),
    ],
)
def test_another_kind_is_refused_by_name(
    changes: dict[str, tuple[int, ...] | None], said: str
) -> None:
    message = _refusal(tiff(GREY, **changes))  # type: ignore[arg-type]
    assert said in message
    assert "save it as grey or RGB with 8 or 16 bits, uncompressed or deflated" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tag_262": (2,)}, "1 samples of photometric interpretation 2"),
        ({"tag_277": (3,)}, "3 samples of photometric interpretation 1"),
        ({"tag_256": (0,)}, "TIFF is 0 x 37 pixels"),
        ({"tag_256": (60000,), "tag_257": (60000,), "tag_278": (60000,)}, "60000 x 60000 pixels"),
        ({"tag_257": (38,), "tag_278": (38,)}, "TIFF block 0 holds 1961 of 2014 bytes"),
        ({"tag_279": (1960,)}, "TIFF block 0 holds 1960 of 1961 bytes; send the file again"),
        ({"tag_273": (4000,)}, "TIFF block 0 ends at byte 5961 of"),
        ({"tag_273": None}, "TIFF lists 0 block offsets and 1 sizes; 53 x 37 pixels have 1"),
        ({"tag_279": None}, "TIFF lists 1 block offsets and 0 sizes"),
        ({"tag_278": (1,)}, "53 x 37 pixels have 37"),
        ({"tag_322": (0,), "tag_323": (16,)}, "tiles of 0 x 16 pixels; expected 1 to 1024"),
        ({"tag_322": (2**31,), "tag_323": (2**31,)}, "tiles of 2147483648 x 2147483648 pixels"),
        ({"tag_257": (4_000_000,), "tag_256": (1,), "tag_278": (1,)}, "at most 100000 are read"),
        ({"tag_258": ()}, "TIFF field 258 is repeated, empty or of kind 4"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(
    changes: dict[str, tuple[int, ...] | None], said: str
) -> None:
    assert said in _refusal(tiff(GREY, **changes))  # type: ignore[arg-type]


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    data = tiff(DEEP, deflated=True, rows_per_strip=5)
    for size in range(2, len(data) - 4, 101):
        assert "TIFF" in _refusal(data[:size])
        assert "send" in _refusal(data[:size])


def test_big_tiff_is_refused_by_name() -> None:
    data = b"II+\0\x08\0\0\0" + bytes(40)
    assert _refusal(data) == "image is BigTIFF; save it as classic TIFF or PNG"
    assert "TIFF of unknown version 7" in _refusal(b"MM\0\x07" + bytes(40))


def test_a_repeated_field_is_refused() -> None:
    data = bytearray(tiff(GREY))
    (directory,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, directory + 2 + 12, 256)
    assert "TIFF field 256 is repeated" in _refusal(bytes(data))


def test_a_damaged_deflated_strip_is_refused_instead_of_shown_half_blank() -> None:
    data = bytearray(tiff(GREY, deflated=True, rows_per_strip=10))
    data[8:40] = bytes(32)
    assert "TIFF block 0 is damaged" in _refusal(bytes(data))


def test_a_deflated_bomb_is_unpacked_no_further_than_its_strip() -> None:
    bomb = np.frombuffer(zlib.compress(bytes(50_000_000)), np.uint8)
    data = tiff(bomb.reshape(1, -1), tag_256=(8,), tag_259=(8,))
    assert not decode(data).any()
    assert decode(data).shape == (1, 8, 3)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    seed=st.sampled_from([tiff(GREY), tiff(COLOUR, deflated=True, tile=16)]),
    edits=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_any_damage_is_refused_or_harmless(seed: bytes, edits: list[tuple[int, int]]) -> None:
    data = bytearray(seed)
    for back, value in edits:
        data[-back] = value
    try:
        image = decode(bytes(data), max_pixels=1_000_000)
    except InvalidImageError:
        return
    header = probe(bytes(data))
    assert image.shape == (header.height, header.width, 3)
