"""Beer-Lambert over stacked objects: thickness per material in, transmission per detector out.

Attenuations of stacked objects add per energy bin: T_k = sum_E S_k(E) exp(-sum_m mu_m(E) t_m).
Two implementations: `transmit_direct` says it plainly, `transmit` is fast and must agree.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .materials import attenuation_matrix
from .spectrum import Spectrum

# 512 pixels x 29 bins x ~12 materials stays under the size at which BLAS splits a product over
# threads, so the bytes cannot depend on how many threads a machine grants; it also fits the cache.
_BLOCK = 512
_BLOCKS_PER_STEP = 16


def transmit_direct(
    thickness_mm: NDArray[np.float32], materials: Sequence[str], spectrum: Spectrum
) -> NDArray[np.float64]:
    """Reference. `thickness_mm` [M, N] -> transmissions [2, N] (low, high) in double precision."""
    attenuation = attenuation_matrix(materials, spectrum.energies_kev)
    result = np.zeros((2, thickness_mm.shape[1]))
    for row, weights in zip(attenuation, spectrum.weights.T, strict=True):
        line_integral = np.zeros(thickness_mm.shape[1])
        for mu, thickness in zip(row, thickness_mm, strict=True):
            line_integral += mu * thickness.astype(np.float64)
        result += weights[:, None] * np.exp(-line_integral)
    return result


def transmit(
    thickness_mm: NDArray[np.float32], materials: Sequence[str], spectrum: Spectrum
) -> NDArray[np.float32]:
    """`thickness_mm` [M, N] float32 -> transmissions [2, N] float32 (row 0 low, row 1 high)."""
    num_materials, num_pixels = thickness_mm.shape
    attenuation = -attenuation_matrix(materials, spectrum.energies_kev).astype(np.float32)
    weights = spectrum.weights.astype(np.float32)
    num_blocks = -(-num_pixels // _BLOCK)
    padded = np.zeros((num_materials, num_blocks * _BLOCK), np.float32)
    padded[:, :num_pixels] = thickness_mm
    blocks = padded.reshape(num_materials, num_blocks, _BLOCK).swapaxes(0, 1)
    result = np.empty((num_blocks, 2, _BLOCK), np.float32)
    for start in range(0, num_blocks, _BLOCKS_PER_STEP):
        step = slice(start, start + _BLOCKS_PER_STEP)
        exponents = np.matmul(attenuation, np.ascontiguousarray(blocks[step]))
        np.exp(exponents, out=exponents)
        np.matmul(weights, exponents, out=result[step])
    return result.swapaxes(0, 1).reshape(2, -1)[:, :num_pixels]


def transmission_images(
    layers_mm: dict[str, NDArray[np.float32]], shape: tuple[int, int], spectrum: Spectrum
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Thickness maps [H, W] per material -> (low, high) transmission images [H, W] in (0, 1]."""
    low, high = np.ones(shape, np.float32), np.ones(shape, np.float32)
    if not layers_mm:
        return low, high
    materials = sorted(layers_mm)
    covered = np.zeros(shape, bool)
    for layer in layers_mm.values():
        covered |= layer > 0
    index = np.flatnonzero(covered)
    stack = np.stack([layers_mm[name].ravel()[index] for name in materials])
    low.ravel()[index], high.ravel()[index] = transmit(stack, materials, spectrum)
    return low, high
