"""What is measured on: images, the same as files, and clicks on their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import file_bytes
from apsam_serve.contract.images import decode
from apsam_serve.contract.prompts import Prompt
from apsam_train.synth.generator import generate

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """images: RGB uint8 [H, W, 3]; files: the same as files, in the same order; clicks: (number of
    the image, one click on an object of it)."""

    images: Sequence[NDArray[np.uint8]]
    files: Sequence[bytes]
    clicks: Sequence[tuple[int, Prompt]]


def synthetic(*, num_images: int = 6, clicks_per_image: int = 4, seed: int = 7) -> Workload:
    """Synthetic bags of 512 x 512 pixels, clicked on their objects; the same for the same seed."""
    images, clicks = [], []
    rng = np.random.default_rng(seed)
    for index in range(num_images):
        made = generate(seed=seed, index=index)
        images.append(made.rgb)
        masks = [one.mask for one in made.instances if one.mask.any()]
        for number in range(clicks_per_image):
            y, x = rng.choice(np.argwhere(masks[number % len(masks)]))
            clicks.append((index, Prompt.click(float(x), float(y))))
    return Workload(images=images, files=[file_bytes(image) for image in images], clicks=clicks)


def of_folder(folder: Path, *, clicks_per_image: int = 4, seed: int = 7) -> Workload:
    """Every image file of a folder, clicked where it is dark, which in a scanner's image is matter.

    Raises ValueError when there is none, InvalidImageError for what is no image.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no image; expected files like {', '.join(_SUFFIXES)}")
    files = [path.read_bytes() for path in paths]
    images = [decode(data) for data in files]
    rng = np.random.default_rng(seed)
    clicks = []
    for index, image in enumerate(images):
        grey = cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 9))
        places = np.argwhere(grey <= np.quantile(grey, 0.1))
        for y, x in rng.choice(places, clicks_per_image):
            clicks.append((index, Prompt.click(float(x), float(y))))
    return Workload(images=images, files=files, clicks=clicks)
