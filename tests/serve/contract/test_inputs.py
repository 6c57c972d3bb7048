"""Images as callers send them: calibration, limits, digests, and what the model is shown."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.images import decode
from apsam_serve.contract.inputs import (
    Calibration,
    DualEnergyInput,
    FileInput,
    ImageInput,
    RgbInput,
    digest,
    letterboxed,
    load,
    palettes,
)
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.contract.pseudo_colour import colourise
from apsam_serve.errors import InvalidImageError

LIMIT = 24_000_000


def readings(height: int, width: int, seed: int = 0) -> NDArray[np.uint16]:
    """uint16 [H, W] over the whole range, both ends included."""
    found = np.random.default_rng(seed).integers(0, 65536, (height, width)).astype("<u2")
    found.flat[:2] = 0, 65535
    return found


def pair(high: NDArray[np.uint16], low: NDArray[np.uint16], **others: Any) -> DualEnergyInput:
    height, width = high.shape
    planes = {"high": high.astype("<u2").tobytes(), "low": low.astype("<u2").tobytes()}
    return DualEnergyInput(width=width, height=height, **{**planes, **others})


RGB = RgbInput(width=3, height=2, data=bytes(range(18)))
PNG = FileInput(data=cv2.imencode(".png", np.full((2, 3, 3), 7, np.uint8))[1].tobytes())
PAIR = pair(readings(5, 7), readings(5, 7, seed=1))


def test_a_file_is_decoded_once_for_both_encoders() -> None:
    pixels = load(PNG, max_pixels=6)
    assert np.array_equal(pixels.image, decode(PNG.data))
    assert pixels.energy is pixels.image


def test_raw_pixels_are_taken_row_by_row() -> None:
    pixels = load(RGB, max_pixels=6)
    assert pixels.image.shape == (2, 3, 3)
    assert pixels.image[1, 0].tolist() == [9, 10, 11]
    assert pixels.energy is pixels.image


def test_one_plane_is_letterboxed_once_and_two_planes_each() -> None:
    one = load(RGB, max_pixels=6)
    frames, box = letterboxed(one, side=64)
    assert frames.energy is frames.image
    assert np.array_equal(frames.image, letterbox(one.image, side=64)[0])
    two = load(PAIR, max_pixels=35)
    frames, box = letterboxed(two, side=64)
    assert (box.height, box.width) == (5, 7)
    assert np.array_equal(frames.image, letterbox(two.image, side=64)[0])
    assert np.array_equal(frames.energy, letterbox(two.energy, side=64)[0])


def calibrated(
    values: NDArray[np.uint16], dark: NDArray[np.floating], air: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The definition, in double precision."""
    return np.clip((values.astype(np.float64) - dark) / (air - dark), 0, 1)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("num_values", [0, 1, "all"])
def test_readings_become_transmissions_by_their_calibration(
    axis: str, num_values: int | str
) -> None:
    high, low = readings(40, 60), readings(40, 60, seed=1)
    num_elements = 40 if axis == "rows" else 60
    count = num_elements if num_values == "all" else int(num_values)
    rng = np.random.default_rng(5)
    lines = [tuple(rng.integers(*span, count).tolist()) for span in ((0, 999), (50_000, 65536))]
    given = pair(
        high,
        low,
        high_calibration=Calibration(dark=lines[0], air=lines[1]),
        low_calibration=Calibration(dark=lines[0][::-1], air=lines[1][::-1]),
        detector_axis=axis,
    )
    shape = (-1, 1) if axis == "rows" else (1, -1)
    dark, air = (
        np.array(line or (default,), float) for line, default in zip(lines, (0, 65535), strict=True)
    )
    bright = calibrated(high, dark.reshape(shape), air.reshape(shape))
    weak = calibrated(low, dark[::-1].reshape(shape), air[::-1].reshape(shape))
    pixels = load(given, max_pixels=LIMIT)
    assert np.abs(pixels.energy[:, :, 0] - 255 * bright).max() < 0.501
    assert np.abs(pixels.energy[:, :, 1] - 255 * np.minimum(weak, bright)).max() < 0.501
    expected = colourise(weak.astype(np.float32), bright.astype(np.float32), palettes()[0])
    # A reading between two colours of the table may take either, one rounding apart.
    assert (pixels.image != expected).any(axis=2).mean() < 0.01


def test_largest_and_smallest_channel_are_high_and_low_energy_whatever_the_noise() -> None:
    high, low = readings(30, 30), readings(30, 30, seed=1)
    energy = load(pair(high, low), max_pixels=LIMIT).energy
    expected = np.rint(high / 65535 * 255)
    assert np.array_equal(energy.max(axis=2), expected)
    assert np.array_equal(energy.min(axis=2), np.minimum(np.rint(low / 65535 * 255), expected))
    assert np.array_equal(energy[:, :, 1], energy[:, :, 2])


@pytest.mark.parametrize("shape", [(300, 530), (1, 70_000), (70_000, 2), (257, 1)])
@pytest.mark.parametrize("palette", palettes())
def test_tiles_leave_no_trace(shape: tuple[int, int], palette: str) -> None:
    high, low = readings(*shape), readings(*shape, seed=1)
    scale = np.float32(1 / 65535)
    whole = colourise(low.astype(np.float32) * scale, high.astype(np.float32) * scale, palette)
    found = load(pair(high, low, palette=palette), max_pixels=LIMIT)
    assert np.array_equal(found.image, whole)


def test_a_pair_takes_little_more_memory_than_its_pixels() -> None:
    """Two pictures of 3 bytes a pixel, and one tile's work: 5 MB when this was written."""
    flat = np.full((1200, 1500), 30_000, np.uint16)
    given = pair(flat, flat)
    load(given, max_pixels=LIMIT)
    tracemalloc.start()
    try:
        load(given, max_pixels=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * flat.size + 8_000_000


def test_the_first_palette_is_meant_when_none_is_named() -> None:
    named = [load(replace(PAIR, palette=name), max_pixels=35).image for name in palettes()]
    assert np.array_equal(load(PAIR, max_pixels=35).image, named[0])
    assert all(not np.array_equal(named[0], other) for other in named[1:])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (replace(RGB, data=b"12"), "data has 2 bytes; send 18, 3 for each of 3 x 2 pixels"),
        (replace(RGB, width=0), "image is 0 x 2 pixels; send at least 1 x 1"),
        (replace(RGB, width=-3, height=-2), "image is -3 x -2 pixels; send at least 1 x 1"),
        (replace(RGB, width=2**31, height=2**31), "at most 35 pixels: crop it or scale it down"),
        (replace(PAIR, width=8), "image is 8 x 5 pixels; send .* at most 35 pixels"),
        (replace(PAIR, height=0), "image is 7 x 0 pixels"),
        (replace(PAIR, high=b""), "high has 0 bytes; send 70, 2 for each of 7 x 5 pixels"),
        (replace(PAIR, low=bytes(71)), "low has 71 bytes; send 70"),
        (
            replace(PAIR, palette="neon"),
            "palette 'neon' is unknown; choose one of hixray, pixray, pidray, sixray, or none",
        ),
        (
            replace(PAIR, detector_axis="diagonal"),  # type: ignore[arg-type]
            "detector_axis is 'diagonal'; choose one of rows, columns",
        ),
        (
            replace(PAIR, high_calibration=Calibration(dark=(1,) * 7)),
            "high_calibration.dark has 7 values; give none, one, or 5, one per detector element",
        ),
        (
            replace(PAIR, low_calibration=Calibration(air=(9,) * 5), detector_axis="columns"),
            "low_calibration.air has 5 values; give none, one, or 7",
        ),
        (
            replace(PAIR, low_calibration=Calibration(dark=(-1,))),
            "low_calibration.dark holds -1 to -1; give readings from 0 to 65535",
        ),
        (
            replace(PAIR, low_calibration=Calibration(air=(1, 2, 3, 4, 65536))),
            "low_calibration.air holds 1 to 65536; give readings from 0 to 65535",
        ),
        (
            replace(PAIR, high_calibration=Calibration(dark=(0, 0, 0, 50, 0), air=(50,))),
            "high_calibration has dark 50 and air 50 at detector element 3; air must be above dark",
        ),
        (
            replace(PAIR, high_calibration=Calibration(dark=(65535,))),
            "high_calibration has dark 65535 and air 65535 at detector element 0",
        ),
        (FileInput(data=b"no image"), "starts with 6e 6f"),
    ],
)
def test_what_cannot_be_an_image_is_refused_with_the_fix(given: ImageInput, said: str) -> None:
    with pytest.raises(InvalidImageError, match=said):
        load(given, max_pixels=35)


def test_limits_are_checked_before_the_pixels() -> None:
    """The sizes say too many pixels, the data has none: the sizes are what is complained of."""
    for given in (replace(RGB, width=9, data=b""), replace(PAIR, width=9, high=b"", low=b"")):
        with pytest.raises(InvalidImageError, match=r"image is 9 x .* at most 10 pixels"):
            load(given, max_pixels=10)


def test_a_file_s_digest_is_that_of_its_bytes() -> None:
    assert digest(PNG) == hashlib.sha256(PNG.data).hexdigest()


def test_digests_of_other_forms_are_what_they_were() -> None:
    """Audit logs hold them: a field with another name must not change them unseen."""
    said = b'raw_rgb {"width": 3, "height": 2, "data": 18}\n'
    assert digest(RGB) == hashlib.sha256(said + RGB.data).hexdigest()
    said = (
        b'dual_energy {"width": 7, "height": 5, "high": 70, "low": 70, '
        b'"high_calibration": {"dark": [3], "air": []}, '
        b'"low_calibration": {"dark": [], "air": []}, "detector_axis": "rows", "palette": ""}\n'
    )
    given = replace(PAIR, high_calibration=Calibration(dark=(3,)))
    assert digest(given) == hashlib.sha256(said + PAIR.high + PAIR.low).hexdigest()


def test_different_inputs_have_different_digests() -> None:
    square = replace(PAIR, high=bytes(70), low=bytes(70))
    inputs: list[ImageInput] = [
        PNG,
        RGB,
        FileInput(data=RGB.data),
        replace(RGB, width=2, height=3),
        replace(RGB, width=6, height=1),
        PAIR,
        replace(PAIR, high=PAIR.low, low=PAIR.high),
        replace(PAIR, high=PAIR.high + b"1", low=PAIR.low[1:]),
        replace(PAIR, width=5, height=7),
        replace(PAIR, palette="hixray"),
        replace(PAIR, detector_axis="columns"),
        replace(PAIR, high_calibration=Calibration(dark=(1,))),
        replace(PAIR, high_calibration=Calibration(air=(1,))),
        replace(PAIR, low_calibration=Calibration(dark=(1,))),
        replace(PAIR, low_calibration=Calibration(dark=(1, 1))),
        replace(PAIR, low_calibration=Calibration(dark=(11,))),
        square,
        replace(square, high=bytes(71), low=bytes(69)),
    ]
    digests = [digest(given) for given in inputs]
    assert len(set(digests)) == len(inputs)
    assert all(len(text) == 64 and set(text) <= set("0123456789abcdef") for text in digests)


def test_no_file_that_is_an_image_has_the_digest_of_another_form() -> None:
    """What is hashed for raw pixels, sent as a file, is no image."""
    said = b'raw_rgb {"width": 3, "height": 2, "data": 18}\n'
    double = FileInput(data=said + RGB.data)
    assert digest(double) == digest(RGB)
    with pytest.raises(InvalidImageError, match="starts with 72 61 77"):
        load(double, max_pixels=6)
