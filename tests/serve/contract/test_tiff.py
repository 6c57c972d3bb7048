"""TIFF files: each layout that is accepted, and every other one refused by name."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsam_serve.contract.images import ImageHeader, decode, probe
from apsam_serve.errors import InvalidImageError
from tests.serve.contract.image_files import Order, lzw_bits, tiff

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
@pytest.mark.parametrize("compression", [1, 5, 8, 32773], ids=["raw", "lzw", "deflate", "packbits"])
@pytest.mark.parametrize("differences", [False, True], ids=["plain", "differences"])
@pytest.mark.parametrize("planar", [False, True], ids=["together", "planar"])
@pytest.mark.parametrize("layout", [{}, {"rows_per_strip": 8}, {"tile": 16}], ids=str)
def test_every_accepted_layout_gives_the_same_pixels(
    image: NDArray[np.unsignedinteger],
    order: Order,
    compression: int,
    differences: bool,
    planar: bool,
    layout: dict[str, int],
) -> None:
    kind = {"compression": compression, "differences": differences, "planar": planar}
    data = tiff(image, order=order, **kind, **layout)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    "image", [GREY, COLOUR, DEEP, DEEP[:, :, 0]], ids=["8", "8x3", "16x3", "16"]
)
@pytest.mark.parametrize("compression", [None, 1, 5, 8, 32773], ids=str)
def test_what_opencv_writes_by_default_and_otherwise_is_read(
    image: NDArray[np.unsignedinteger], compression: int | None
) -> None:
    flags = [] if compression is None else [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    bgr = image if image.ndim == 2 else image[:, :, ::-1]
    data = cv2.imencode(".tiff", np.ascontiguousarray(bgr), flags)[1].tobytes()
    assert np.array_equal(decode(data), _expected(image))


def test_files_of_another_writer_are_read() -> None:
    tifffile = pytest.importorskip("tifffile", reason="no dependency of this project")
    for options in (
        {},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"planarconfig": "separate", "rowsperstrip": 5},
    ):
        image = DEEP.transpose(2, 0, 1) if "planarconfig" in options else DEEP
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, image, photometric="rgb", **options)
        assert np.array_equal(decode(buffer.getvalue()), _expected(DEEP))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA"])
def test_every_mode_of_pillow_is_read(mode: str, compression: str) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="no dependency of this project")
    picture = pillow.fromarray(COLOUR).convert(mode)
    if mode.endswith("A"):
        picture.putalpha(pillow.fromarray(GREY))
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression=compression)
    air = pillow.new("RGBA", picture.size, "white")
    expected = np.asarray(pillow.alpha_composite(air, picture.convert("RGBA")).convert("RGB"))
    assert np.abs(decode(buffer.getvalue()).astype(int) - expected).max() <= mode.endswith("A")


# --- colours and alpha --------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [257, 256, 1], ids=["16 bits", "256 times 8", "8 bits"])
def test_a_palette_is_looked_up(unit: int) -> None:
    colours = RNG.integers(0, 256, (3, 256))
    palette = tuple((colours * unit).ravel().tolist())
    data = tiff(GREY, compression=5, tag_262=(3,), tag_320=palette)
    assert np.array_equal(decode(data), colours.T[GREY])
    assert probe(data) == ImageHeader(format="tiff", width=53, height=37, channels=3, bits=8)


def test_a_palette_of_another_size_is_refused() -> None:
    assert "palette of 3 values for 8 bits; expected 768" in _refusal(
        tiff(GREY, tag_262=(3,), tag_320=(1, 2, 3))
    )
    assert "palette of 768 values for 16 bits" in _refusal(
        tiff(DEEP[:, :, 0], tag_262=(3,), tag_320=(0,) * 768)
    )


PIXELS = {
    "straight": [[10, 20, 30, 0], [10, 20, 30, 255], [100, 0, 200, 128]],
    "premultiplied": [[0, 0, 0, 0], [10, 20, 30, 255], [50, 0, 100, 128]],
}
SHOWN = [[[255] * 3, [10, 20, 30], [177, 127, 227]]]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("pixels", "kind"), [("straight", None), ("straight", (2,)), ("premultiplied", (1,))]
)
def test_what_is_transparent_shows_air(
    pixels: str, kind: tuple[int] | None, dtype: type[np.unsignedinteger], planar: bool
) -> None:
    unit = np.iinfo(dtype).max // 255
    image = (np.array([PIXELS[pixels]]) * unit).astype(dtype)
    data = tiff(image, planar=planar, tag_338=kind)
    assert decode(data).tolist() == SHOWN
    assert probe(data).channels == 4


def test_grey_with_alpha_shows_air_too() -> None:
    image = np.array([[[16, 0], [16, 255], [239, 0]]], np.uint8)
    assert decode(tiff(image, tag_338=(2,))).tolist() == [[[255] * 3, [16] * 3, [255] * 3]]
    inverted = np.array([[[239, 0], [239, 255]]], np.uint8)
    data = tiff(inverted, tag_338=(2,), tag_262=(0,))
    assert decode(data).tolist() == [[[255] * 3, [16] * 3]]
    assert probe(data).channels == 2


def test_a_sample_that_the_file_calls_unspecified_is_not_alpha() -> None:
    image = np.array([[[10, 20, 30, 0], [1, 2, 3, 77]]], np.uint8)
    data = tiff(image, tag_338=(0,))
    assert decode(data).tolist() == [[[10, 20, 30], [1, 2, 3]]]
    assert probe(data).channels == 3


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tag_258": (4,)}, "bits per sample [4]; expected one of [8, 16]"),
        ({"tag_258": (32,)}, "bits per sample [32]"),
        ({"tag_258": None}, "bits per sample [1]"),
        ({"tag_259": (7,)}, "32946 are deflate, 32773 is PackBits) [7]; expected one of [1, 5, 8,"),
        ({"tag_262": (5,)}, "2 is RGB, 3 is a palette) [5]"),
        ({"tag_266": (2,)}, "fill order [2]"),
        ({"tag_277": (5,)}, "samples per pixel [5]; expected one of [1, 2, 3, 4]"),
        ({"tag_284": (3,)}, "planar configuration [3]"),
        ({"tag_317": (3,)}, "predictor [3]"),
        ({"tag_338": (3,)}, "extra samples [3]"),
        ({"tag_339": (3,)}, "sample format (1 is unsigned) [3]"),
    ],
)
def test_another_kind_is_refused_by_name(
    changes: dict[str, tuple[int, ...] | None], said: str
) -> None:
    message = _refusal(tiff(GREY, **changes))  # type: ignore[arg-type]
    assert said in message
    assert "save it as grey or RGB with 8 or 16 bits, uncompressed, LZW or deflated" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tag_262": (2,)}, "1 samples of photometric interpretation 2"),
        ({"tag_277": (3,)}, "3 samples of photometric interpretation 1"),
        ({"tag_277": (2,), "tag_262": (3,)}, "2 samples of photometric interpretation 3"),
        ({"tag_258": (8, 16)}, "interpretation 1 and [8, 16] bits; send grey (1 sample) or RGB"),
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
        ({"tag_257": (4_000_000,), "tag_256": (1,), "tag_278": (1,)}, "at most 20000 are read"),
        ({"tag_284": (2,), "tag_277": (2,)}, "53 x 37 pixels have 2, and"),
        ({"tag_258": ()}, "TIFF field 258 is repeated, of kind 4, or has 0 values"),
        ({"tag_258": (8,) * 20_001}, "of kind 4, or has 20001 values where 1 to 20000 are read"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(
    changes: dict[str, tuple[int, ...] | None], said: str
) -> None:
    assert said in _refusal(tiff(GREY, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_a_file_that_is_cut_off_anywhere_is_refused(compression: int) -> None:
    data = tiff(DEEP, compression=compression, rows_per_strip=5)
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


@pytest.mark.parametrize("compression", [5, 8, 32773])
def test_a_strip_that_unpacks_to_too_little_or_too_much_is_refused(compression: int) -> None:
    low = _refusal(tiff(GREY, compression=compression, tag_257=(38,), tag_278=(38,)))
    assert "TIFF block 0 holds 1961 of 2014 bytes; send the file again" in low
    high = _refusal(tiff(GREY, compression=compression, tag_257=(36,), tag_278=(36,)))
    assert "TIFF block 0 is damaged (it unpacks to more than 1908 bytes)" in high


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_a_last_strip_that_is_padded_to_the_height_of_the_others_is_read(compression: int) -> None:
    padded = np.concatenate([GREY, GREY[:3]])
    data = tiff(padded, compression=compression, rows_per_strip=10, tag_257=(37,))
    assert np.array_equal(decode(data), _expected(GREY))


def test_blocks_that_share_their_bytes_are_refused() -> None:
    data = tiff(GREY, rows_per_strip=10, tag_273=(8,) * 4, tag_279=(1000,) * 4)
    assert f"TIFF lists blocks of 4000 bytes in a file of {len(data)}" in _refusal(data)


@pytest.mark.parametrize("compression", [5, 8, 32773])
def test_a_damaged_strip_is_refused_instead_of_shown_half_blank(compression: int) -> None:
    data = bytearray(tiff(GREY, compression=compression, rows_per_strip=10))
    data[8:40] = bytes(32)
    assert "TIFF block 0" in _refusal(bytes(data))


def test_a_wrong_checksum_of_a_deflated_strip_is_refused() -> None:
    data = bytearray(tiff(GREY, compression=8))
    (at,) = struct.unpack_from("<I", data, 4)
    data[at - 1] ^= 1
    assert "TIFF block 0 is damaged (Error -3 while decompressing data: incorrect" in _refusal(
        bytes(data)
    )


def _bomb(packed: bytes, compression: int) -> bytes:
    """8 pixels that unpack to more."""
    raw = np.frombuffer(packed, np.uint8).reshape(1, -1)
    return tiff(raw, tag_256=(8,), tag_259=(compression,))


@pytest.mark.parametrize(
    ("packed", "compression"),
    [
        (zlib.compress(bytes(50_000_000)), 8),
        (lzw_bits([256, 0, *range(258, 3800), 257]), 5),
        (b"\x81\x00" * 1_000_000, 32773),
    ],
    ids=["deflate", "lzw", "packbits"],
)
def test_a_bomb_is_unpacked_no_further_than_its_strip(packed: bytes, compression: int) -> None:
    data = _bomb(packed, compression)
    tracemalloc.start()
    message = _refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "TIFF block 0 is damaged (it unpacks to more than 8 bytes)" in message
    assert peak < 2 * len(data) + 1_000_000


def test_an_image_over_the_limit_is_refused_before_a_strip_is_unpacked() -> None:
    data = tiff(GREY, compression=5, tag_256=(5000,), tag_257=(5000,), tag_278=(5000,))
    tracemalloc.start()
    message = _refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "image is 5000 x 5000 pixels; send at most 24000000 pixels" in message
    assert peak < 1_000_000


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(
        [
            tiff(GREY),
            tiff(COLOUR, compression=8, tile=16),
            tiff(COLOUR, compression=5, planar=True, differences=True, rows_per_strip=9),
            tiff(COLOUR, compression=32773),
        ]
    ),
    edits=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 255)), min_size=1, max_size=4),
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
