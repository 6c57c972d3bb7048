"""What machine and file leave in a picture: photon noise, detector lines, sharpness, JPEG."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

_GRAIN_SIDE = 768
_GRAIN_SIGMA = 40
_NEUTRAL = 128


def random_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grain in proportion to the darkness of each channel: fewer photons, more noise; none on
    the white belt. Up to a fifth of the darkness."""
    strength = 0.2 * rng.random() ** 2
    height, width = image.shape[:2]
    grain = _grain(height, width, rng)
    alpha = strength * _NEUTRAL / _GRAIN_SIGMA
    field = cv2.convertScaleAbs(grain, alpha=alpha, beta=_NEUTRAL * (1 - alpha))
    darkness = cv2.multiply(cv2.bitwise_not(image), field, scale=1 / _NEUTRAL)
    return np.asarray(cv2.bitwise_not(darkness), np.uint8)


def random_lines(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Detector elements of slightly different gain, some bad ones, grey or orange, along either
    axis."""
    height, width = image.shape[:2]
    along_rows = rng.random() < 0.5
    length = height if along_rows else width
    gains = np.repeat(1 - np.abs(rng.normal(0, rng.uniform(0, 0.012), (length, 1))), 3, axis=1)
    for _ in range(rng.integers(5)):
        start, thickness = rng.integers(length), rng.integers(1, 4)
        tint = (0.2, 0.6, 1.0) if rng.random() < 0.5 else (1.0, 1.0, 1.0)
        gains[start : start + thickness] *= 1 - rng.uniform(0.02, 0.3) * np.array(tint)
    field = np.rint(255 * np.clip(gains, 0, 1)).astype(np.uint8)
    field = field[:, None] if along_rows else field[None]
    whole = cv2.resize(field, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.multiply(image, whole, scale=1 / 255), np.uint8)


def random_sharpness(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """From a soft picture to the edge enhancement that many stations have on."""
    blurred = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.5, 1.5))
    amount = rng.uniform(-0.9, 0.0) if rng.random() < 0.3 else rng.uniform(0.0, 3.5)
    return np.asarray(cv2.addWeighted(image, 1 + amount, blurred, -amount, 0), np.uint8)


def random_jpeg(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Written and read as JPEG of quality 35 to 95, colours whole or halved."""
    halved = rng.random() < 0.7
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    )
    flags = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    written, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    assert written, "OpenCV writes JPEG"
    read = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert read is not None, "OpenCV reads what it wrote"
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def _grain(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random window of one sheet of noise, repeated where the picture is larger: drawing it
    anew would take longer than everything else together."""
    sheet = _grain_sheet()
    repeats = (-(-height // _GRAIN_SIDE), -(-width // _GRAIN_SIDE), 1)
    if repeats != (1, 1, 1):
        sheet = np.tile(sheet, repeats)
    top = int(rng.integers(sheet.shape[0] - height + 1))
    left = int(rng.integers(sheet.shape[1] - width + 1))
    return sheet[top : top + height, left : left + width]


@cache
def _grain_sheet() -> NDArray[np.uint8]:
    """Normal noise around 128, RGB; the channels have four fifths in common, as both energies
    come from one beam."""
    rng = np.random.default_rng(0)
    shape = (_GRAIN_SIDE, _GRAIN_SIDE)
    common = rng.standard_normal((*shape, 1), dtype=np.float32)
    own = rng.standard_normal((*shape, 3), dtype=np.float32)
    noise = _NEUTRAL + _GRAIN_SIGMA * (0.8 * common + 0.6 * own)
    sheet: NDArray[np.uint8] = np.rint(np.clip(noise, 0, 255)).astype(np.uint8)
    return sheet
