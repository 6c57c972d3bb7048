"""How makers colour: hue, saturation and value of each material band, contrast, grey of the belt.

Ranges cover what public data sets show (OpenCV units): organic hue 10 to 20, inorganic 40 to 62,
metal 95 to 113 on all scanners; saturation, value and the belt's grey (225 to 255) differ widely.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_HUES = 180
_LEAST_WHITE = 200
_LEVELS = np.arange(256, dtype=np.float32) / 255
# Share of organic, inorganic, metal at a hue: full around 15, 50 and 106, mixed between.
_KNOTS = (0, 26, 36, 78, 90, 135, 165, 180)
_BANDS: NDArray[np.float32] = np.stack(
    [
        np.interp(np.arange(_HUES), _KNOTS, shares)
        for shares in (
            (1, 1, 0, 0, 0, 0, 1, 1),
            (0, 0, 1, 1, 0, 0, 0, 0),
            (0, 0, 0, 0, 1, 1, 0, 0),
        )
    ],
    axis=1,
).astype(np.float32)

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Maker:
    """How a picture's colours become another maker's. Of organic, inorganic, metal each:
    hue: added to the hue; twist: added on top where saturation is full, taken off where none is;
    saturation: slope of the saturation curve where there is little; value: exponent over 0..1.
    vividness: factor on all saturation, 0 for grey; opaque: value (0..1) under which all is black.
    """

    hue: Triple = (0.0, 0.0, 0.0)
    twist: Triple = (0.0, 0.0, 0.0)
    saturation: Triple = (1.0, 1.0, 1.0)
    value: Triple = (1.0, 1.0, 1.0)
    vividness: float = 1.0
    opaque: float = 0.0


def random_maker(rng: np.random.Generator) -> Maker:
    """Denser pictures are more saturated and darker at once, as with a weaker tube."""
    density = np.exp(rng.normal(0.15, 0.35))
    grey = rng.random() < 0.05
    return Maker(
        hue=_triple(rng.uniform((-4, -10, -8), (4, 11, 7))),
        twist=_triple(rng.uniform(-4, 3, 3)),
        saturation=_triple(np.exp(rng.uniform(-0.5, 0.5, 3)) * density),
        value=_triple(np.exp(rng.uniform(-0.5, 0.6, 3)) * density),
        vividness=rng.uniform(0.0, 0.3) if grey else rng.uniform(0.85, 1.3),
        opaque=max(0.0, rng.uniform(-0.35, 0.4)),
    )


def random_palette(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """As a random maker shows it."""
    return recolour(image, random_maker(rng))


def recolour(image: NDArray[np.uint8], maker: Maker) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] as that maker shows it, on a white belt."""
    hsv = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    hue, saturation, value = (np.asarray(plane, np.uint8) for plane in hsv)
    colour = np.take(_hue_saturation_table(maker), _pairs(saturation, hue))
    # The belt, also where noise lies on its grey; of every fourth pixel, which is a fast guess.
    white = max(_LEAST_WHITE, int(np.percentile(value[::4, ::4], 95)))
    lightness = np.take(_value_table(maker, white), _pairs(value, hue))
    new_saturation, new_hue = cv2.split(colour.view(np.uint8).reshape(*hue.shape, 2))
    recoloured = cv2.merge([new_hue, new_saturation, lightness])
    return np.asarray(cv2.cvtColor(recoloured, cv2.COLOR_HSV2RGB), np.uint8)


def random_exposure(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma and contrast of the display, and what black looks like: some makers' is navy."""
    gamma = rng.uniform(0.75, 1.3) * rng.uniform(0.96, 1.04, 3)
    black = np.array([25, 30, 60]) * rng.random() * rng.random(3)
    slope = rng.uniform(-0.4, 0.8)
    levels = _LEVELS + slope * _LEVELS * (1 - _LEVELS) * (2 * _LEVELS - 1)
    tables = black[:, None] + (255 - black[:, None]) * levels[None] ** gamma[:, None]
    planes = cv2.split(image)
    lit = [cv2.LUT(p, t) for p, t in zip(planes, np.rint(tables).astype(np.uint8), strict=True)]
    return np.asarray(cv2.merge(lit), np.uint8)


def random_belt(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The empty belt in a grey with a slight tint and gradient."""
    white = rng.uniform(0.88, 1.0) * rng.uniform(0.97, 1.0, 3)
    corners = 1 - rng.uniform(0, 0.05) * rng.random((3, 3, 1))
    field = np.rint(255 * white * corners).astype(np.uint8)
    height, width = image.shape[:2]
    whole = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, whole, scale=1 / 255), np.uint8)


def random_tone(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma and white level per channel, and no more."""
    gamma = rng.uniform(0.8, 1.25)
    white = rng.uniform(0.9, 1.0) * rng.uniform(0.97, 1.0, size=3)
    table = (_LEVELS[:, None] ** gamma * white * 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _hue_saturation_table(maker: Maker) -> NDArray[np.uint16]:
    """New (hue, saturation) by old, both packed as `_pairs` does: [_HUES * 256]."""
    # Saturation of up to two levels is noise of the white belt: it must not turn pink or green.
    levels = np.maximum(_LEVELS - 2 / 255, 0)
    slope = np.array(maker.saturation, np.float32)[:, None]
    curves = maker.vividness * slope * levels / (1 + (slope - 1) * levels)
    saturation = np.clip(_BANDS @ curves.astype(np.float32), 0, 1) * np.float32(255)
    shift = _BANDS @ np.array(maker.hue, np.float32) + np.arange(_HUES, dtype=np.float32)
    hue = np.outer(_BANDS @ np.array(maker.twist, np.float32), 2 * _LEVELS - 1)
    hue += shift[:, None]
    packed: NDArray[np.uint16] = (np.clip(hue, 0, _HUES - 1) + 0.5).astype(np.uint16).reshape(-1)
    packed <<= 8
    packed |= (saturation + 0.5).astype(np.uint16).reshape(-1)
    return packed


def _value_table(maker: Maker, white: int) -> NDArray[np.uint8]:
    """New value by old (hue, value), packed as `_pairs` does; the old white is 255:
    [_HUES * 256]."""
    levels = np.clip((_LEVELS * 255 / white - maker.opaque) / (1 - maker.opaque), 0, 1)
    curves = levels ** np.array(maker.value)[:, None]
    table = _BANDS @ curves.astype(np.float32) * np.float32(255)
    new_levels: NDArray[np.uint8] = np.rint(table).astype(np.uint8).reshape(-1)
    return new_levels


def _pairs(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """256 high + low of two planes [H, W]."""
    pairs: NDArray[np.uint16] = np.asarray(cv2.merge([low, high])).view("<u2")[..., 0]
    return pairs


def _triple(values: NDArray[np.float64]) -> Triple:
    first, second, third = values.tolist()
    return first, second, third
