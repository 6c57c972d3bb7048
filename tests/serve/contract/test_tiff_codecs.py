"""Packed strips: what is packed comes back, damage is named, and nothing grows beyond its bound."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsam_serve.contract.tiff_codecs import UNPACK
from tests.serve.contract.image_files import PACK, lzw, lzw_bits, packbits

RNG = np.random.default_rng(0)
LZW, PACKBITS = 5, 32773


def _message(compression: int, raw: bytes, limit: int = 1000) -> str:
    with pytest.raises(ValueError, match="it") as caught:
        UNPACK[compression](raw, limit)
    return str(caught.value)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), compression=st.sampled_from(sorted(UNPACK)))
def test_what_is_packed_comes_back(data: bytes, compression: int) -> None:
    assert UNPACK[compression](PACK[compression](data), len(data)) == data


@pytest.mark.parametrize("num_values", [1, 2, 7, 256])
@pytest.mark.parametrize("size", [1, 2, 3, 253, 254, 255, 256, 766, 767, 20_000])
def test_lzw_of_any_length_crosses_widths_and_full_tables(num_values: int, size: int) -> None:
    data = RNG.integers(0, num_values, size, np.uint8).tobytes()
    assert UNPACK[LZW](lzw(data), size) == data


def test_the_longest_strings_of_lzw_come_back() -> None:
    codes = [256, 7, *range(258, 4094), 256, 9, 257]
    num_bytes = sum(range(1, 3838)) + 1
    unpacked = UNPACK[LZW](lzw_bits(codes), num_bytes)
    assert unpacked == b"\7" * (num_bytes - 1) + b"\t"


def test_lzw_without_its_first_clear_or_its_end_is_read() -> None:
    assert UNPACK[LZW](lzw_bits([65, 258, 257]), 3) == b"AAA"
    assert UNPACK[LZW](lzw_bits([256, 65, 258]), 3) == b"AAA"


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([256, 258], "its LZW codes name strings that do not exist yet"),
        ([256, 65, 259], "its LZW codes name strings that do not exist yet"),
        ([256, 65, 258, 260, 257], "its LZW codes name strings that do not exist yet"),
        ([256, 65, 256, 258, 257], "its LZW codes name strings that do not exist yet"),
        ([256, *[65] * 4000, 257], "its LZW table is full and not cleared"),
        ([256] * 50, "its LZW table is cleared too often"),
        ([256, *[65] * 1001, 257], "it unpacks to more than 1000 bytes"),
    ],
)
def test_damaged_lzw_is_named(codes: list[int], said: str) -> None:
    assert _message(LZW, lzw_bits(codes)) == said


def test_damage_of_64_bytes_in_lzw_is_noticed_by_the_size() -> None:
    data = RNG.integers(0, 20, 20_000, np.uint8).tobytes()
    packed = lzw(data)
    for place in range(0, len(packed) - 64, 97):
        damage = RNG.integers(0, 256, 64, np.uint8).tobytes()
        damaged = packed[:place] + damage + packed[place + 64 :]
        try:
            size = len(UNPACK[LZW](damaged, len(data)))
        except ValueError:
            continue
        assert size < len(data)


def test_lzw_that_never_leaves_9_bits_is_read() -> None:
    data = RNG.integers(0, 256, 254 * 100, np.uint8).tobytes()
    codes = [code for at in range(0, len(data), 254) for code in (256, *data[at : at + 254])]
    assert UNPACK[LZW](lzw_bits([*codes, 257]), len(data)) == data


def test_a_packbits_run_that_is_cut_off_is_named() -> None:
    assert _message(PACKBITS, packbits(b"abcdef")[:-1]) == "its last run is cut off"
    assert _message(PACKBITS, b"\xfe") == "its last run is cut off"


def test_a_strip_of_clears_is_given_up_in_time() -> None:
    started = time.perf_counter()
    assert "cleared too often" in _message(LZW, lzw_bits([256] * 8) * 1_800_000, 8)
    assert time.perf_counter() - started < 1
