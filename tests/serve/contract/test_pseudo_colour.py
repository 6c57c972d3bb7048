"""Pseudo-colour without physics: the tables and what colours depend on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.pseudo_colour import (
    PALETTES,
    REACH,
    attenuations,
    colourise,
    lookup_table,
    reference_slabs,
)


def noise(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(low, high) transmissions [H, W] of everything a scan may hold."""
    rng = np.random.default_rng(1)
    high = np.exp(-6 * rng.random((height, width), dtype=np.float32))
    return high ** (1 + 2 * rng.random((height, width), dtype=np.float32)), high


def test_slabs_are_ordered_by_ratio_and_by_atomic_number() -> None:
    """What the table's interpolation between them stands on."""
    slabs = reference_slabs()
    ratios = np.array([slab.ratios for slab in slabs])
    assert ratios.shape == (8, len(attenuations()))
    assert (np.diff(ratios, axis=0) > 0).all()
    assert (np.diff([slab.effective_z for slab in slabs]) > 0).all()


@pytest.mark.parametrize("name", PALETTES)
def test_more_matter_is_darker_up_to_black(name: str) -> None:
    brightness = lookup_table(name).max(axis=2).astype(int)
    assert (np.diff(brightness, axis=0) <= 0).mean() > 0.99
    assert brightness[0].min() == PALETTES[name].paper
    assert brightness[-1].max() < 10


@pytest.mark.parametrize("name", PALETTES)
def test_an_empty_belt_is_white_or_grey_as_on_the_real_machine(name: str) -> None:
    empty = np.ones((8, 8), np.float32)
    assert (colourise(empty, empty, name) == PALETTES[name].paper).all()


@pytest.mark.parametrize("name", PALETTES)
def test_no_reading_at_all_is_black(name: str) -> None:
    nothing = np.zeros((8, 8), np.float32)
    assert colourise(nothing, nothing, name).max() < 40


@pytest.mark.parametrize("name", PALETTES)
def test_a_colour_depends_on_nothing_beyond_the_reach(name: str) -> None:
    """Bit for bit, or tiles of one picture would show."""
    low, high = noise(60, 70)
    whole = colourise(low, high, name)
    for top, left in ((0, 0), (REACH, REACH), (29, 31)):
        part = slice(max(0, top - REACH), top + 9 + REACH), slice(max(0, left - REACH), None)
        found = colourise(low[part].copy(), high[part].copy(), name)
        inside = found[min(top, REACH) :, min(left, REACH) :][:9]
        assert np.array_equal(inside, whole[top : top + 9, left:])
