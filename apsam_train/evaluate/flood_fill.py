"""The baseline every segmenter must beat: flood fill from the click, as paint programs do it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.preprocess import check_image
from apsam_serve.contract.prompts import Prompt, check_prompts
from apsam_serve.contract.segmenter import Segmentation, StrategyName


class FloodFill:
    """Implements `contract.segmenter.Segmenter`: joins pixels whose colour channels differ from the
    clicked pixel's by at most `tolerance` grey levels."""

    def __init__(self, *, tolerance: int = 20) -> None:
        self._tolerance = tolerance

    def encode(self, image: NDArray[np.uint8]) -> FloodFillImage:
        check_image(image)
        return FloodFillImage(image, self._tolerance)

    def close(self) -> None:
        """Nothing to free."""


class FloodFillImage:
    """Implements `contract.segmenter.EncodedImage`; only a prompt's points are used."""

    def __init__(self, image: NDArray[np.uint8], tolerance: int) -> None:
        self._image = np.ascontiguousarray(image)
        self._tolerance = (float(tolerance),) * 3

    @property
    def height(self) -> int:
        return int(self._image.shape[0])

    @property
    def width(self) -> int:
        return int(self._image.shape[1])

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "direct"
    ) -> list[Segmentation]:
        check_prompts(prompts, height=self.height, width=self.width)
        return [
            Segmentation(mask=self._fill(p), score=0.0, points=p.points, branch="direct")
            for p in prompts
        ]

    def release(self) -> None:
        """Nothing to free."""

    def _fill(self, prompt: Prompt) -> NDArray[np.bool_]:
        filled = np.zeros((self.height + 2, self.width + 2), np.uint8)
        for point in prompt.points:
            cv2.floodFill(
                self._image,
                filled,
                (int(point.x), int(point.y)),
                0,
                self._tolerance,
                self._tolerance,
                cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8),
            )
        return filled[1:-1, 1:-1].astype(np.bool_)
