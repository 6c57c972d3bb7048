"""What a caller may send as an image, and the pixels that come of it.

A scanner's own pair is calibrated to transmissions, coloured for the image encoder, and handed to
the Energy-Aware Encoder as 8 bits (docs/adr/0015-the-pair-has-eight-bits.md). The float planes
exist tile by tile: a pair of 24 million pixels would take a gigabyte of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract import images
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.pseudo_colour import PALETTES, REACH, colourise
from apsam_serve.errors import InvalidImageError

DetectorAxis = Literal["rows", "columns"]
_FULL_SCALE = 65535
_TILE = 256
"""Side in pixels of what is calibrated and coloured at once: it stays in the cache, 11 against 33
ns a pixel with twice the side. Narrow images have longer tiles of as many pixels."""


@dataclass(frozen=True, kw_only=True)
class FileInput:
    """data: a PNG, JPEG or TIFF file."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class RgbInput:
    """data: uint8 [H, W, 3] in RGB order, row by row."""

    width: int
    height: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """dark, air: readings without radiation and of the open beam, one value or one per detector
    element; empty means 0 and 65535."""

    dark: tuple[int, ...] = ()
    air: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DualEnergyInput:
    """high, low: detector readings, little-endian uint16 [H, W], row by row; detector_axis: "rows"
    where each row of the image is one detector element; palette: "" for the first."""

    width: int
    height: int
    high: bytes
    low: bytes
    high_calibration: Calibration = Calibration()
    low_calibration: Calibration = Calibration()
    detector_axis: DetectorAxis = "rows"
    palette: str = ""


ImageInput = FileInput | RgbInput | DualEnergyInput


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """image: uint8 [H, W, 3], pseudo-colour for the image encoder; energy: uint8 [H, W, 3], whose
    largest and smallest channels are the high and low energy for the Energy-Aware Encoder. Both are
    the same array unless a scanner's own pair was sent."""

    image: NDArray[np.uint8]
    energy: NDArray[np.uint8]


def palettes() -> tuple[str, ...]:
    """Names that `DualEnergyInput.palette` may have, the default first."""
    return tuple(PALETTES)


def load(given: ImageInput, *, max_pixels: int) -> Pixels:
    """Decode or calibrate to image size. Limits are checked before any pixel is touched.

    Raises InvalidImageError.
    """
    if isinstance(given, DualEnergyInput):
        return _dual_energy(given, max_pixels)
    if isinstance(given, FileInput):
        image = images.decode(given.data, max_pixels=max_pixels)
    else:
        _check_size(given.width, given.height, max_pixels)
        _check_bytes("data", given.data, 3, given.width, given.height)
        image = np.frombuffer(given.data, np.uint8).reshape(given.height, given.width, 3)
    return Pixels(image=image, energy=image)


def letterboxed(pixels: Pixels, *, side: int) -> tuple[Pixels, LetterBox]:
    """Both planes as uint8 [S, S, 3], and where the image lies in them; one plane stays one."""
    image, box = letterbox(pixels.image, side=side)
    if pixels.energy is pixels.image:
        return Pixels(image=image, energy=image), box
    return Pixels(image=image, energy=letterbox(pixels.energy, side=side)[0]), box


def digest(given: ImageInput) -> str:
    """SHA-256 of what was sent, 64 hexadecimal digits: of the file, or of a line that says
    everything else, then the pixels. No image file begins with such a line."""
    if isinstance(given, FileInput):
        return hashlib.sha256(given.data).hexdigest()
    form = "raw_rgb" if isinstance(given, RgbInput) else "dual_energy"
    fields = vars(given)
    planes = [value for value in fields.values() if isinstance(value, bytes)]
    said = {name: len(v) if isinstance(v, bytes) else v for name, v in fields.items()}
    result = hashlib.sha256(f"{form} {json.dumps(said, default=vars)}\n".encode())
    for plane in planes:
        result.update(plane)
    return result.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plane:
    """Readings uint16 [H, W] of one energy; dark, gain: float32 [H, W], views of one line."""

    readings: NDArray[np.uint16]
    dark: NDArray[np.float32]
    gain: NDArray[np.float32]

    def transmission(self, tile: tuple[slice, slice]) -> NDArray[np.float32]:
        """(reading - dark) / (air - dark), clipped to 0..1."""
        result = self.readings[tile].astype(np.float32)
        result -= self.dark[tile]
        result *= self.gain[tile]
        return np.clip(result, 0, 1, out=result)


def _dual_energy(given: DualEnergyInput, max_pixels: int) -> Pixels:
    _check_size(given.width, given.height, max_pixels)
    if given.palette not in ("", *PALETTES):
        raise InvalidImageError(
            f"palette {given.palette!r} is unknown; choose one of {', '.join(PALETTES)}, or none "
            "for the first"
        )
    if given.detector_axis not in get_args(DetectorAxis):
        raise InvalidImageError(
            f"detector_axis is {given.detector_axis!r}; choose one of "
            f"{', '.join(get_args(DetectorAxis))}"
        )
    name = given.palette or palettes()[0]
    low = _plane("low", given.low, given.low_calibration, given)
    high = _plane("high", given.high, given.high_calibration, given)
    image = np.empty((given.height, given.width, 3), np.uint8)
    energy = np.empty_like(image)
    rows, columns = max(_TILE, _TILE**2 // given.width), max(_TILE, _TILE**2 // given.height)
    for y, x in product(range(0, given.height, rows), range(0, given.width, columns)):
        top, left = max(0, y - REACH), max(0, x - REACH)
        around = slice(top, y + rows + REACH), slice(left, x + columns + REACH)
        inside = slice(y - top, y - top + rows), slice(x - left, x - left + columns)
        tile = slice(y, y + rows), slice(x, x + columns)
        low_part, high_part = low.transmission(around), high.transmission(around)
        image[tile] = colourise(low_part, high_part, name)[inside]
        energy[tile] = _to_energy(low_part[inside], high_part[inside])
    return Pixels(image=image, energy=energy)


def _to_energy(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Transmissions [h, w] as (high, low, low), uint8 [h, w, 3]. The encoder takes the largest
    channel for the high energy, so noise in the open beam must not lift the low one above it."""
    high8 = cv2.convertScaleAbs(high, alpha=255)
    low8 = cv2.convertScaleAbs(np.minimum(low, high), alpha=255)
    return np.asarray(cv2.merge([high8, low8, low8]), np.uint8)


def _plane(name: str, data: bytes, calibration: Calibration, given: DualEnergyInput) -> _Plane:
    """Check one energy's readings and calibration, and lay them out in image shape."""
    _check_bytes(name, data, 2, given.width, given.height)
    by_row = given.detector_axis == "rows"
    num_elements = given.height if by_row else given.width
    dark = _line(f"{name}_calibration.dark", calibration.dark, 0, num_elements)
    air = _line(f"{name}_calibration.air", calibration.air, _FULL_SCALE, num_elements)
    span = air - dark
    wrong = np.flatnonzero(span <= 0)
    if len(wrong):
        element = int(wrong[0])
        raise InvalidImageError(
            f"{name}_calibration has dark {dark[element % len(dark)]:.0f} and air "
            f"{air[element % len(air)]:.0f} at detector element {element}; air must be above dark"
        )
    shape = (given.height, given.width)
    along = (-1, 1) if by_row else (1, -1)
    gain = 1 / span
    return _Plane(
        readings=np.frombuffer(data, "<u2").reshape(shape),
        dark=np.broadcast_to(dark.astype(np.float32).reshape(along), shape),
        gain=np.broadcast_to(gain.astype(np.float32).reshape(along), shape),
    )


def _line(name: str, values: Sequence[int], default: int, num_elements: int) -> NDArray[np.float64]:
    """One value, or one per detector element."""
    if len(values) not in (0, 1, num_elements):
        raise InvalidImageError(
            f"{name} has {len(values)} values; give none, one, or {num_elements}, one per detector "
            "element along detector_axis"
        )
    if values and not 0 <= min(values) <= max(values) <= _FULL_SCALE:
        raise InvalidImageError(
            f"{name} holds {min(values)} to {max(values)}; give readings from 0 to {_FULL_SCALE}"
        )
    return np.array(values or (default,), np.float64)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1 or width * height > max_pixels:
        raise InvalidImageError(
            f"image is {width} x {height} pixels; send at least 1 x 1 and at most {max_pixels} "
            "pixels: crop it or scale it down"
        )


def _check_bytes(name: str, data: bytes, pixel_bytes: int, width: int, height: int) -> None:
    expected = pixel_bytes * width * height
    if len(data) != expected:
        raise InvalidImageError(
            f"{name} has {len(data)} bytes; send {expected}, {pixel_bytes} for each of "
            f"{width} x {height} pixels, row by row without padding"
        )
