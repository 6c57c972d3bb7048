"""Pseudo-colour: (T_high, T_low) -> RGB, as scanners do it.

Material comes from R = ln T_low / ln T_high. R alone drifts with thickness (beam hardening), so
the table interpolates between the physics curves of reference slabs: the effective atomic number at
equal R and equal darkness. Hue says the material, saturation and value say the amount.

The curves are data beside this file, because the physics lives in training, which serving never
imports: `python -m apsam_train.synth.reference_slabs` prints them, and a test holds them to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_TABLE_SIZE: Final = 256
_MAX_ATTENUATION: Final = 5.0
_RATIO_RANGE: Final = (0.9, 4.0)
_UNSHARP_SIGMA: Final = 1.4
REACH: Final = 6
"""Pixels around a pixel that its colour depends on: half of OpenCV's widest kernel here, 13 taps
for the sigma above; no palette smooths wider. Tiles that overlap by as much join exactly."""


@dataclass(frozen=True, kw_only=True)
class ReferenceSlab:
    """R = ln T_low / ln T_high of growing slabs of one material, at `attenuations()`."""

    name: str
    effective_z: float
    ratios: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Tone:
    """Colour of one material class over attenuation a = -ln T_high.

    `hue` in OpenCV units; `saturation` and `value` are 0..255 at the knots of `_KNOTS`.
    """

    hue: float
    saturation: tuple[float, ...]
    value: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """`borders` are the effective Z between organic, inorganic, metal; `softness` their width.

    `opaque` is T_high below which everything is black; `paper` the grey of the empty belt.
    `smoothing` is the blur in px of the material estimate, `sharpening` of the picture.
    """

    organic: Tone
    inorganic: Tone
    metal: Tone
    borders: tuple[float, float] = (9.4, 17.2)
    softness: float = 0.5
    opaque: float = 0.02
    paper: int = 255
    smoothing: float = 0.8
    sharpening: float = 0.3


_KNOTS: Final = (0.0, 0.05, 0.1, 0.2, 0.33, 0.5, 0.85, 1.3, 2.0, 2.7, 3.4, 4.2)

# hixray: the calibrated curves of a real scanner (iron 0-8 mm, aluminium 0-10 mm, plastic
# 0-40 mm), continued to black. The others keep the hues and change saturation and value.
PALETTES: Final = MappingProxyType(
    {
        "hixray": Palette(
            organic=Tone(
                hue=16,
                saturation=(0, 48, 76, 104, 128, 152, 184, 206, 220, 228, 232, 235),
                value=(255, 252, 251, 250, 249, 248, 243, 232, 200, 140, 70, 20),
            ),
            inorganic=Tone(
                hue=45,
                saturation=(0, 30, 50, 84, 108, 136, 158, 168, 175, 180, 185, 190),
                value=(255, 236, 226, 212, 200, 190, 175, 150, 105, 66, 36, 14),
            ),
            metal=Tone(
                hue=104,
                saturation=(0, 60, 90, 126, 164, 198, 219, 226, 228, 228, 228, 228),
                value=(255, 254, 252, 250, 248, 244, 238, 224, 180, 112, 50, 16),
            ),
        ),
        "pixray": Palette(
            organic=Tone(
                hue=14,
                saturation=(0, 34, 60, 92, 118, 142, 170, 190, 205, 214, 220, 220),
                value=(255, 254, 252, 248, 242, 234, 214, 188, 146, 100, 56, 20),
            ),
            inorganic=Tone(
                hue=58,
                saturation=(0, 70, 104, 140, 162, 176, 190, 198, 204, 208, 210, 210),
                value=(255, 226, 206, 182, 162, 144, 118, 92, 62, 40, 24, 10),
            ),
            metal=Tone(
                hue=108,
                saturation=(0, 80, 120, 160, 186, 204, 216, 220, 222, 222, 222, 222),
                value=(255, 246, 240, 234, 226, 218, 204, 182, 136, 88, 48, 12),
            ),
            softness=0.15,
            opaque=0.035,
            smoothing=0.5,
            sharpening=0.5,
        ),
        "pidray": Palette(
            organic=Tone(
                hue=12,
                saturation=(0, 26, 46, 72, 96, 122, 150, 172, 190, 200, 205, 205),
                value=(255, 252, 248, 242, 236, 228, 210, 184, 146, 104, 60, 22),
            ),
            inorganic=Tone(
                hue=56,
                saturation=(0, 40, 66, 100, 126, 148, 168, 180, 190, 196, 200, 200),
                value=(255, 238, 224, 206, 190, 172, 144, 116, 78, 50, 28, 10),
            ),
            metal=Tone(
                hue=103,
                saturation=(0, 52, 84, 122, 152, 178, 200, 212, 218, 220, 220, 220),
                value=(255, 248, 244, 238, 230, 220, 202, 178, 136, 92, 50, 14),
            ),
            borders=(8.9, 18.0),
            softness=0.3,
            opaque=0.025,
            smoothing=0.6,
        ),
        "sixray": Palette(
            organic=Tone(
                hue=18,
                saturation=(0, 22, 40, 66, 90, 116, 150, 176, 200, 214, 220, 220),
                value=(255, 254, 252, 250, 248, 246, 240, 226, 192, 144, 92, 40),
            ),
            inorganic=Tone(
                hue=42,
                saturation=(0, 24, 42, 70, 94, 116, 138, 152, 164, 172, 176, 176),
                value=(255, 244, 236, 224, 212, 200, 178, 150, 112, 78, 48, 24),
            ),
            metal=Tone(
                hue=100,
                saturation=(0, 36, 58, 92, 122, 150, 178, 194, 204, 208, 208, 208),
                value=(255, 250, 246, 240, 232, 222, 202, 176, 130, 88, 52, 26),
            ),
            softness=0.9,
            opaque=0.012,
            paper=228,
            smoothing=1.0,
            sharpening=0.0,
        ),
    }
)


def attenuations() -> NDArray[np.float64]:
    """-ln T_high of the rows of every table and of the points of every slab's curve: [256], dense
    where there is little matter."""
    return np.linspace(0, 1, _TABLE_SIZE) ** 2 * _MAX_ATTENUATION


def reference_slabs() -> tuple[ReferenceSlab, ...]:
    """What R slabs of known materials have, ordered by R at every attenuation."""
    text = files("apsam_serve.contract").joinpath("reference_slabs.json").read_text("utf-8")
    return tuple(
        ReferenceSlab(
            name=slab["name"], effective_z=slab["effective_z"], ratios=tuple(slab["ratios"])
        )
        for slab in json.loads(text)
    )


def _effective_z_table() -> NDArray[np.float64]:
    """Effective Z over (sqrt attenuation, R): [_TABLE_SIZE, _TABLE_SIZE]."""
    slabs = reference_slabs()
    numbers = [slab.effective_z for slab in slabs]
    curves = np.array([slab.ratios for slab in slabs])
    ratios = np.linspace(*_RATIO_RANGE, _TABLE_SIZE)
    return np.array([np.interp(ratios, row, numbers) for row in curves.T])


@cache
def lookup_table(name: str) -> NDArray[np.uint8]:
    """RGB uint8 over (sqrt attenuation, R): [256, 256, 3]."""
    palette = PALETTES[name]
    number = _effective_z_table()
    attenuation = attenuations()
    low, high = palette.borders
    to_inorganic = np.clip((number - low) / palette.softness + 0.5, 0, 1)
    to_metal = np.clip((number - high) / palette.softness + 0.5, 0, 1)
    weights = ((1 - to_inorganic), to_inorganic * (1 - to_metal), to_metal)
    hsv = np.zeros((*number.shape, 3))
    tones = (palette.organic, palette.inorganic, palette.metal)
    for weight, tone in zip(weights, tones, strict=True):
        saturation = np.interp(attenuation, _KNOTS, tone.saturation)[:, None]
        value = np.interp(attenuation, _KNOTS, tone.value)[:, None]
        hsv[..., 0] += weight * tone.hue
        hsv[..., 1] += weight * saturation
        hsv[..., 2] += weight * value
    darkness = np.clip((attenuation + np.log(palette.opaque)) / 0.25, 0, 1)[:, None]
    hsv[..., 2] *= 1 - 0.93 * darkness
    rgb = cv2.cvtColor(np.round(hsv).astype(np.uint8), cv2.COLOR_HSV2RGB)
    scaled: NDArray[np.uint8] = np.round(rgb * (palette.paper / 255)).astype(np.uint8)
    return scaled


def colourise(low: NDArray[np.float32], high: NDArray[np.float32], name: str) -> NDArray[np.uint8]:
    """Transmissions float32 [H, W] in 0..1 -> RGB uint8 [H, W, 3] in the palette of that name."""
    palette = PALETTES[name]
    floor = np.float32(np.exp(-_MAX_ATTENUATION))
    log_low = -np.log(np.clip(low, floor * 1e-2, 1))
    log_high = -np.log(np.clip(high, floor, 1))
    smooth_low, smooth_high = (
        cv2.GaussianBlur(image, (0, 0), palette.smoothing) for image in (log_low, log_high)
    )
    ratio = (smooth_low + 1e-4) / (smooth_high + 1e-4)
    if palette.sharpening:
        blurred = cv2.GaussianBlur(log_high, (0, 0), _UNSHARP_SIGMA)
        log_high = np.maximum(log_high + palette.sharpening * (log_high - blurred), 0)
    last = _TABLE_SIZE - 1
    row = np.minimum(np.sqrt(log_high * (last * last / _MAX_ATTENUATION)), last)
    first, end = _RATIO_RANGE
    column = np.clip((ratio - first) * (last / (end - first)), 0, last)
    index = np.rint(row).astype(np.intp) * _TABLE_SIZE + np.rint(column).astype(np.intp)
    coloured: NDArray[np.uint8] = np.take(lookup_table(name).reshape(-1, 3), index, axis=0)
    return coloured
