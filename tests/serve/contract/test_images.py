"""Image files: PNG and JPEG of every kind, and every way to be refused."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsam_serve.contract import images
from apsam_serve.contract.images import ImageHeader, decode, probe
from apsam_serve.errors import InvalidImageError
from tests.serve.contract.image_files import END, PNG_SIGNATURE, chunk, jpeg, png

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 56, 3), np.uint8)
PICTURE: NDArray[np.uint8] = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 2), np.uint8)
PALETTE = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))


def _png(image: NDArray[np.unsignedinteger]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def _refusal(data: bytes) -> str:
    with pytest.raises(InvalidImageError) as caught:
        decode(data)
    return str(caught.value)


# --- what is accepted ---------------------------------------------------------------------------


def test_a_colour_png_comes_back_in_rgb_order() -> None:
    rgb = decode(_png(PICTURE))
    assert np.array_equal(rgb, PICTURE[:, :, ::-1])
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png(8, 1, 1, 0, b"\0\xa5"), [255, 0, 255, 0, 0, 255, 0, 255]),
        (png(4, 1, 2, 0, b"\0\x1b"), [0, 85, 170, 255]),
        (png(2, 1, 4, 0, b"\0\x1f"), [17, 255]),
        (png(3, 1, 8, 0, b"\0\x00\x80\xff"), [0, 128, 255]),
        (png(3, 1, 16, 0, b"\0\x00\x80\x00\x81\xff\xff"), [0, 1, 255]),
    ],
    ids=["1 bit", "2 bits", "4 bits", "8 bits", "16 bits"],
)
def test_grey_of_any_depth_becomes_three_equal_channels(data: bytes, pixels: list[int]) -> None:
    assert decode(data).tolist() == [[[value] * 3 for value in pixels]]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_looked_up(bits: int) -> None:
    line = b"\0\x00\x01" if bits == 8 else bytes([0, 1 << (8 - 2 * bits)])
    data = png(2, 1, bits, 3, line, before=PALETTE)
    assert decode(data).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert probe(data) == ImageHeader(format="png", width=2, height=1, channels=3, bits=bits)


def test_what_is_transparent_shows_air() -> None:
    line = b"\0" + bytes([10, 20, 30, 0, 10, 20, 30, 255, 100, 0, 200, 128])
    assert decode(png(3, 1, 8, 6, line)).tolist() == [[[255] * 3, [10, 20, 30], [177, 127, 227]]]
    assert decode(png(2, 1, 8, 4, b"\0\x10\x00\x10\xff")).tolist() == [[[255] * 3, [16] * 3]]
    half = png(2, 1, 8, 3, b"\0\x00\x01", before=PALETTE + chunk(b"tRNS", b"\x00"))
    assert decode(half).tolist() == [[[255] * 3, [40, 50, 60]]]


def test_16_bits_with_alpha_show_air_too() -> None:
    line = b"\0" + struct.pack(">4H4H", 257, 514, 65535, 65535, 257, 514, 65535, 0)
    assert decode(png(2, 1, 16, 6, line)).tolist() == [[[1, 2, 255], [255] * 3]]


def test_16_bits_are_reduced_by_the_full_range() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = ((every.astype(np.int64) + 128) // 257).astype(np.uint8)
    assert np.array_equal(decode(_png(every))[:, :, 1], expected)


def test_a_dark_16_bit_image_stays_dark() -> None:
    assert decode(_png(np.full((4, 4), 600, np.uint16))).max() == 2


def test_an_interlaced_png_is_read() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    data = PNG_SIGNATURE + header + chunk(b"IDAT", zlib.compress(b"\0\x42")) + END
    assert decode(data).tolist() == [[[0x42] * 3]]


def test_of_an_animation_the_first_picture_is_taken() -> None:
    control = struct.pack(">IIIIIHHBB", 0, 2, 1, 0, 0, 1, 10, 0, 0)
    frames = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", control)
    still = png(2, 1, 8, 0, b"\0\x05\x06", before=frames)
    second = chunk(b"fdAT", b"\0\0\0\x01" + zlib.compress(b"\0\x07\x08"))
    assert decode(still[: -len(END)] + second + END)[0, :, 0].tolist() == [5, 6]


def test_what_carries_no_pixels_is_not_even_unpacked() -> None:
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000)))
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10_000_000)))
    gamma = chunk(b"gAMA", struct.pack(">I", 20000))
    data = png(1, 1, 8, 0, b"\0\x42", before=bomb + text + gamma)
    assert decode(data + b"whatever follows").tolist() == [[[0x42] * 3]]


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_read(progressive: bool, channels: int) -> None:
    data = jpeg(PICTURE if channels == 3 else PICTURE[:, :, 0].copy(), progressive=progressive)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert expected is not None
    assert np.array_equal(decode(data), expected)
    assert probe(data) == ImageHeader(format="jpeg", width=56, height=40, channels=channels, bits=8)


def test_the_exif_orientation_is_ignored_and_a_huge_profile_is_skipped() -> None:
    plain = jpeg(PICTURE)
    tag = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(tag)) + b"Exif\0\0" + tag
    profile = (b"\xff\xe2" + struct.pack(">H", 65535) + b"\xff" * 65533) * 20
    assert np.array_equal(decode(plain[:2] + exif + profile + plain[2:]), decode(plain))


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "image of 0 bytes starts with nothing"),
        (b"BM" + bytes(60), "image of 62 bytes starts with 42 4d 00"),
        (b"GIF89a" + bytes(10), "starts with 47 49 46 38"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "starts with 52 49 46 46"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "starts with 00 00 00 0c"),
    ],
)
def test_another_format_is_refused(data: bytes, said: str) -> None:
    message = _refusal(data)
    assert said in message
    assert "send a PNG, JPEG or TIFF file" in message


def test_a_bomb_is_refused_in_milliseconds_without_memory() -> None:
    side = 20_000
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(side)) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    data = PNG_SIGNATURE + header + chunk(b"IDAT", packed) + END
    tracemalloc.start()
    started = time.perf_counter()
    message = _refusal(data)
    seconds = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message == (
        "image is 20000 x 20000 pixels; send at most 24000000 pixels: crop it or scale it down"
    )
    assert seconds < 0.1
    assert peak < 1_000_000


def test_limits_can_be_set_lower() -> None:
    data = _png(PICTURE)
    assert decode(data, max_pixels=56 * 40).shape == (40, 56, 3)
    with pytest.raises(InvalidImageError, match="56 x 40 pixels; send at most 2239 pixels"):
        decode(data, max_pixels=56 * 40 - 1)
    with pytest.raises(InvalidImageError, match=f"has {len(data)} bytes; send at most 99"):
        decode(data, max_bytes=99)


def test_a_file_over_the_byte_limit_is_refused() -> None:
    assert f"send at most {images.MAX_BYTES}" in _refusal(bytes(images.MAX_BYTES + 1))


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (2**31, 1)])
def test_a_png_of_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    assert f"{size[0]} x {size[1]} pixels, 8 bits" in _refusal(png(*size, 8, 0, b""))


@pytest.mark.parametrize(("bits", "color"), [(3, 0), (4, 2), (16, 3), (8, 5), (8, 7)])
def test_a_png_of_an_impossible_depth_is_refused(bits: int, color: int) -> None:
    assert f"{bits} bits, colour type {color}" in _refusal(png(1, 1, bits, color, b"\0\0"))


def test_a_png_that_is_cut_off_anywhere_is_refused() -> None:
    data = _png(PICTURE)
    for size in range(8, len(data), 37):
        message = _refusal(data[:size])
        assert "send the whole file" in message
        assert f"PNG of {size} bytes" in message


def test_a_png_with_a_changed_byte_is_refused() -> None:
    data = bytearray(_png(PICTURE))
    data[len(data) // 2] ^= 1
    assert "PNG chunk b'IDAT' at byte" in _refusal(bytes(data))
    assert "is damaged (its CRC differs)" in _refusal(bytes(data))


def test_a_png_whose_pixels_end_early_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    message = _refusal(png(20, 20, 8, 0, bytes(21 * 10)))
    assert "png image of 20 x 20 pixels has damaged pixel data; send the file again" in message
    capfd.readouterr()  # libpng's own words


def test_a_second_header_is_refused() -> None:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0))
    assert "second IHDR" in _refusal(png(1, 1, 8, 0, b"\0\0", before=second))


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_that_is_cut_off_anywhere_is_refused(progressive: bool) -> None:
    data = jpeg(PICTURE, progressive=progressive)
    for size in range(3, len(data), 31):
        assert "send the whole file" in _refusal(data[:size])


def _frame(jpeg_data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with another frame header."""
    begin = jpeg_data.index(b"\xff\xc0")
    (size,) = struct.unpack_from(">H", jpeg_data, begin + 2)
    header = struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    return jpeg_data[:begin] + header + jpeg_data[begin + 2 + size :]


@pytest.mark.parametrize(
    ("marker", "fields", "said"),
    [
        (0xC0, (12, 40, 56, 3), "56 x 40 pixels with 3 channels of 12 bits"),
        (0xC0, (8, 40, 56, 4), "56 x 40 pixels with 4 channels of 8 bits"),
        (0xC0, (8, 0, 56, 3), "56 x 0 pixels with 3 channels"),
        (0xC3, (8, 40, 56, 3), "frame type 0xC3 (lossless, arithmetic or hierarchical)"),
        (0xC9, (8, 40, 56, 3), "frame type 0xC9"),
        (0xC0, (8, 60000, 60000, 3), "image is 60000 x 60000 pixels; send at most"),
    ],
)
def test_a_jpeg_of_another_kind_is_refused(
    marker: int, fields: tuple[int, int, int, int], said: str
) -> None:
    content = struct.pack(">BHHB", *fields) + bytes(3 * fields[3])
    assert said in _refusal(_frame(jpeg(PICTURE), marker, content))


def test_a_jpeg_with_hundreds_of_scans_is_refused() -> None:
    data = jpeg(PICTURE)
    begin = data.index(b"\xff\xda")
    assert "1 frames and 500 scans" in _refusal(data[:begin] + data[begin:-2] * 500 + data[-2:])


def test_a_jpeg_with_two_frames_is_refused() -> None:
    data = jpeg(PICTURE)
    begin = data.index(b"\xff\xc0")
    (size,) = struct.unpack_from(">H", data, begin + 2)
    header = data[begin : begin + 2 + size]
    assert "2 frames and 1 scans" in _refusal(data[:begin] + header + data[begin:])


def test_a_jpeg_without_pixels_is_refused() -> None:
    data = jpeg(PICTURE)
    assert "no frame header" in _refusal(b"\xff\xd8\xff\xd9")
    assert "1 frames and 0 scans" in _refusal(data[: data.index(b"\xff\xda")] + b"\xff\xd9")


SEEDS = (_png(PICTURE), jpeg(PICTURE), jpeg(PICTURE, progressive=True))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_any_damage_is_refused_or_harmless(seed: bytes, edits: list[tuple[int, int]]) -> None:
    data = bytearray(seed)
    for place, value in edits:
        data[place] = value
    try:
        image = decode(bytes(data), max_pixels=1_000_000)
    except InvalidImageError:
        return
    header = probe(bytes(data))
    assert image.shape == (header.height, header.width, 3)
