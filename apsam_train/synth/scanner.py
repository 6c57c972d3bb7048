"""The machine: fan-beam blur, scatter, photon and electronic noise, detector gains, calibration."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# The high detector absorbs fewer photons than the low one (0.59 of its open-beam signal).
_HIGH_SHARE = 0.59
_FULL_SCALE = 65535


@dataclass(frozen=True, kw_only=True)
class ScannerConfig:
    """Ranges a scan is drawn from. Photons are per pixel and line in the open beam."""

    photons: tuple[float, float] = (2.8e4, 1.4e5)
    electronic_lsb: tuple[float, float] = (2.0, 6.0)
    blur_across_px: tuple[float, float] = (0.35, 0.65)
    blur_along_px: tuple[float, float] = (0.3, 0.8)
    residual_scatter: tuple[float, float] = (0.0, 0.006)
    gain_error: tuple[float, float] = (0.0, 0.0025)
    dead_row_chance: float = 0.12


def scan(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    config: ScannerConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Ideal transmissions [H, W] -> what the calibrated 16-bit line scanner writes (low, high).

    The detector array runs along rows' y axis, the belt along x. 65535 is the open beam.
    """
    photons = float(np.exp(rng.uniform(*np.log(config.photons))))
    electronic = rng.uniform(*config.electronic_lsb) / _FULL_SCALE
    across, along = rng.uniform(*config.blur_across_px), rng.uniform(*config.blur_along_px)
    scatter = np.float32(rng.uniform(*config.residual_scatter))
    gain_sigma = np.float32(rng.uniform(*config.gain_error))
    dead = _dead_rows(low.shape[0], config.dead_row_chance, rng)
    images = []
    for transmission, count in ((low, photons), (high, photons * _HIGH_SHARE)):
        signal: NDArray[np.float32] = cv2.GaussianBlur(
            transmission, (0, 0), sigmaX=along, sigmaY=across
        ).astype(np.float32, copy=False)
        signal += scatter * (_scattered(signal) - signal)
        # Gaussian stands in for Poisson: at 16 bits they differ only below about 20 photons.
        variance = signal * np.float32(1 / count) + np.float32(electronic**2)
        noise = rng.standard_normal(signal.shape, dtype=np.float32)
        signal += np.sqrt(variance) * noise
        gains = rng.standard_normal((signal.shape[0], 1), dtype=np.float32)
        signal *= np.float32(1) + gain_sigma * gains
        signal[dead] = signal[np.maximum(dead - 1, 0)] * np.float32(0.97)
        images.append(np.rint(np.clip(signal, 1e-4, 1) * _FULL_SCALE).astype(np.uint16))
    return images[0], images[1]


def _scattered(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """A very wide blur, made small first."""
    small = cv2.resize(signal, (16, 16), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 3.0)
    height, width = signal.shape
    wide = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return wide.astype(np.float32, copy=False)


def _dead_rows(height: int, chance: float, rng: np.random.Generator) -> NDArray[np.intp]:
    count = int(rng.integers(1, 4)) if rng.random() < chance else 0
    return rng.integers(0, height, count)
