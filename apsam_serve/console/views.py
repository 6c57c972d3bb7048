"""What an operator may look at instead of the picture: functions of RGB uint8 [H, W, 3], pixel by
pixel but for the heat.

None is ever shown unless asked for: with most of them people find less than with the picture.
Hues are OpenCV's, 0 to 180. Scanners differ by a few; the bands lie between what they use: organic
10 to 20, mixed 40 to 60, metal 95 to 110.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import AttentionMap

Rgb = NDArray[np.uint8]
_ORGANIC_BELOW: Final = 30.0
_METAL_FROM: Final = 75.0
_RED_FROM: Final = 150.0
"""Hues from here on are next to 0: a red tint of organic matter."""
_RAMP: Final = 4.0
"""Half the width of a band's edge, or noise would speckle it."""
_NO_HUE_BELOW: Final = 24
"""Saturation under which a hue is noise."""
_BLACK_BELOW: Final = 16
"""Value under which a hue is noise, however saturated."""
_OPAQUE_BELOW: Final = 60
"""Value under which a grey pixel is taken for metal: nothing else stops all rays."""
_GHOST: Final = 0.2
"""How much of what is taken away stays, grey, so that places are found again."""
_BAND_PIXELS: Final = 2**20
_HEAT_SHARE: Final = 0.75


def original(image: Rgb) -> Rgb:
    """As it was decoded."""
    return image


def inverse(image: Rgb) -> Rgb:
    """Dark for bright. Hue and colourfulness stay: plain negatives make organic matter blue, the
    colour of metal."""
    # Sums lie in 0 to 255, so it does not matter that bytes overflow on the way.
    return image + (255 - _largest(image) - _smallest(image))[:, :, None]


def grey(image: Rgb) -> Rgb:
    """Brightness alone."""
    return _three(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))


def energy_max(image: Rgb) -> Rgb:
    """I_H of the energy branch, the largest channel: follows high-energy transmission."""
    return _three(_largest(image))


def energy_min(image: Rgb) -> Rgb:
    """I_L of the energy branch, the smallest channel: follows low-energy transmission."""
    return _three(_smallest(image))


def organic(image: Rgb) -> Rgb:
    """Organic matter alone; the rest is a ghost."""
    hue, coloured, _ = _hue(image)
    below = np.maximum(_ramp(_ORGANIC_BELOW - hue), _ramp(hue - _RED_FROM))
    return _keep(image, coloured * below)


def metal(image: Rgb) -> Rgb:
    """Metal and what no ray came through; the rest is a ghost."""
    hue, coloured, opaque = _hue(image)
    between = np.minimum(_ramp(hue - _METAL_FROM), _ramp(_RED_FROM - hue))
    return _keep(image, np.maximum(coloured * between, opaque))


VIEWS: Final[Mapping[str, Callable[[Rgb], Rgb]]] = MappingProxyType(
    {view.__name__: view for view in (original, inverse, grey, energy_max, energy_min)}
    | {view.__name__: view for view in (organic, metal)}
)
HEAT: Final = "heat"
NAMES: Final = (*VIEWS, HEAT)
NOTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "original": "the picture as it is",
        "inverse": "dark for bright, colours stay",
        "grey": "brightness alone",
        "energy_max": "largest channel: high-energy transmission",
        "energy_min": "smallest channel: low-energy transmission",
        "organic": "organic matter alone, by hue",
        "metal": "metal and opaque places alone, by hue",
        HEAT: "where the energy branch looks: violet for little, yellow for most",
    }
)


def draw(name: str, image: Rgb) -> Rgb:
    """One of `VIEWS`."""
    return _in_bands(image, lambda band, _: VIEWS[name](band))


def heat(image: Rgb, attention: AttentionMap) -> Rgb:
    """The grey picture under the attention, whose largest value is one. Viridis grows brighter all
    the way, so that it reads without hues too; the square root shows the weaker places."""
    strongest = float(attention.values.max())
    levels = np.sqrt(attention.values / strongest) if strongest > 0 else attention.values * 0

    def drawn(band: Rgb, top: int) -> Rgb:
        level = _over(levels, attention, top, *band.shape[:2])
        shades = np.asarray(np.rint(level * 255), np.uint8)
        coloured = cv2.applyColorMap(shades, cv2.COLORMAP_VIRIDIS)[:, :, ::-1]
        share = _HEAT_SHARE * level[:, :, None]
        return np.asarray(np.rint(grey(band) * (1 - share) + coloured * share), np.uint8)

    return _in_bands(image, drawn)


def to_png(image: Rgb) -> bytes:
    """As a PNG file, packed quickly rather than well."""
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    assert done
    return data.tobytes()


def _in_bands(image: Rgb, view: Callable[[Rgb, int], Rgb]) -> Rgb:
    """A view of some rows at a time, which is told the first of them: at once the largest picture
    would take a gigabyte."""
    drawn = np.empty_like(image)
    rows = max(1, _BAND_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        drawn[top : top + rows] = view(image[top : top + rows], top)
    return drawn


def _over(
    levels: NDArray[np.float32], attention: AttentionMap, top: int, height: int, width: int
) -> NDArray[np.float32]:
    """Levels of the attention's cells at the pixels of rows from `top`, float32 [height, width]."""
    to_cells = np.array(
        [
            [1 / attention.cell_width, 0, 0.5 / attention.cell_width - 0.5],
            [0, 1 / attention.cell_height, (top + 0.5) / attention.cell_height - 0.5],
        ]
    )
    over = cv2.warpAffine(
        levels,
        to_cells,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(over, np.float32)


def _hue(image: Rgb) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Hue [H, W], where it means something, and where the picture is black: 0 to 1 each."""
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), np.float32)
    lit = _ramp(hsv[:, :, 2] - _BLACK_BELOW - _RAMP)
    coloured = _ramp((hsv[:, :, 1] - _NO_HUE_BELOW) / 2) * lit
    opaque = _ramp((_OPAQUE_BELOW - hsv[:, :, 2]) / 4) * (1 - coloured)
    return hsv[:, :, 0], coloured, opaque


def _ramp(inside: NDArray[np.floating]) -> NDArray[np.float32]:
    """0 outside a band, 1 inside, straight over its edge."""
    return np.asarray(np.clip(inside / (2 * _RAMP) + 0.5, 0, 1), np.float32)


def _keep(image: Rgb, share: NDArray[np.float32]) -> Rgb:
    """The picture where share, float32 [H, W], is 1, and its ghost on white where it is 0."""
    ghost = 255 - (255 - grey(image).astype(np.float32)) * _GHOST
    kept = share[:, :, None]
    return np.asarray(np.rint(image * kept + ghost * (1 - kept)), np.uint8)


def _largest(image: Rgb) -> NDArray[np.uint8]:
    """Of the channels, [H, W]. Ten times as fast as `max` over the last axis."""
    return np.maximum(np.maximum(image[:, :, 0], image[:, :, 1]), image[:, :, 2])


def _smallest(image: Rgb) -> NDArray[np.uint8]:
    """Likewise."""
    return np.minimum(np.minimum(image[:, :, 0], image[:, :, 1]), image[:, :, 2])


def _three(plane: NDArray[np.uint8]) -> Rgb:
    """One plane [H, W] in all channels."""
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.uint8)
