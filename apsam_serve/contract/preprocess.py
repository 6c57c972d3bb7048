"""Letter-boxing: how an image of any size becomes the model's S x S frame, and the way back.

The longest side is resized to S: bilinear when it grows, area-averaged when it shrinks, which is
what SAM's anti-aliased bilinear resize does to thin blades. The rest is padded at the bottom and
right. The padding byte is ImageNet's mean rounded to a byte: after the normalisation inside the
graph it lies within 0.009 of the zero that SAM pads with (docs/adr/0002-padding-byte.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.errors import InvalidImageError

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
PADDING = (124, 116, 104)
MASK_STRIDE = 4
"""Model pixels per cell of the low-resolution mask: L = S / 4."""


@dataclass(frozen=True, kw_only=True)
class LetterBox:
    """Where an image of `height` x `width` pixels lies inside the S x S frame of `side` pixels."""

    height: int
    width: int
    side: int
    model_height: int
    model_width: int

    @classmethod
    def fit(cls, *, height: int, width: int, side: int) -> LetterBox:
        """Place an image the way `segment_anything.ResizeLongestSide` does.

        Raises InvalidImageError when the image has no pixels.
        """
        if height < 1 or width < 1:
            raise InvalidImageError(f"image is {width} x {height} pixels; give at least 1 x 1")
        scale = side / max(height, width)
        return cls(
            height=height,
            width=width,
            side=side,
            model_height=max(1, int(height * scale + 0.5)),
            model_width=max(1, int(width * scale + 0.5)),
        )

    @property
    def mask_side(self) -> int:
        """L, the side of the low-resolution mask in cells."""
        return self.side // MASK_STRIDE

    @property
    def valid_cells(self) -> tuple[int, int]:
        """(rows, columns) of the low-resolution mask whose centres lie on the image."""
        rows = -(-(2 * self.model_height - MASK_STRIDE) // (2 * MASK_STRIDE))
        columns = -(-(2 * self.model_width - MASK_STRIDE) // (2 * MASK_STRIDE))
        return max(1, rows), max(1, columns)

    def to_model(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map points [..., 2] (x, y) from image pixels to model pixels."""
        return (points * self._scale).astype(np.float32)

    def to_image(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map points [..., 2] (x, y) from model pixels to image pixels."""
        return (points / self._scale).astype(np.float32)

    @property
    def _scale(self) -> NDArray[np.float64]:
        return np.array([self.model_width / self.width, self.model_height / self.height])


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise InvalidImageError unless `image` is uint8 [H, W, 3] with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InvalidImageError(
            f"image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3] in RGB order"
        )


def letterbox(image: NDArray[np.uint8], *, side: int) -> tuple[NDArray[np.uint8], LetterBox]:
    """Resize and pad an RGB image uint8 [H, W, 3] to uint8 [S, S, 3] (paper 5.1).

    Raises InvalidImageError for another type or shape.
    """
    check_image(image)
    box = LetterBox.fit(height=image.shape[0], width=image.shape[1], side=side)
    frame = np.empty((side, side, 3), np.uint8)
    inside = frame[: box.model_height, : box.model_width]
    if inside.shape == image.shape:
        inside[:] = image
    else:
        shrinks = side < max(box.height, box.width)
        inside[:] = cv2.resize(
            image,
            (box.model_width, box.model_height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
    frame[box.model_height :] = PADDING
    frame[: box.model_height, box.model_width :] = PADDING
    return frame, box
