"""Pictures that verbs write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.errors import InvalidInputError

_WRITABLE = (".png", ".jpg", ".tiff")


def check_writable(path: Path | None) -> None:
    """Raise InvalidInputError for a name that says no format, before a server works for it."""
    if path is not None and path.suffix.lower() not in _WRITABLE:
        raise InvalidInputError(
            f"{path} cannot be written: its name must end in {' or '.join(_WRITABLE)}"
        )


def write_rgb(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image uint8 [H, W, 3] in the format that the name says."""
    _write(path, image[..., ::-1])


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask, bool [H, W], as 0 and 255."""
    _write(path, mask.astype(np.uint8) * 255)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Raises InvalidInputError."""
    check_writable(path)
    _, encoded = cv2.imencode(path.suffix, pixels)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written ({error.strerror}); give a file in a writable folder"
        ) from error
