from __future__ import annotations

import cv2
import numpy as np
import pytest

from apsam_train.curate import phash

from .conftest import draw

GREY = cv2.cvtColor(draw(3, width=150, height=100), cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize(
    ("orientation", "altered"),
    [
        (0, GREY),
        (1, GREY[:, ::-1]),
        (2, GREY[::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY.T),
        (5, np.rot90(GREY, -1)),
        (6, np.rot90(GREY)),
        (7, GREY[::-1, ::-1].T),
    ],
)
def test_the_hash_of_a_turned_picture_follows_from_the_pictures_own(
    orientation: int, altered: np.ndarray
) -> None:
    own = phash.perceptual_hash(GREY)[None]
    found = phash.perceptual_hash(np.ascontiguousarray(altered))
    assert int((phash.oriented(own, orientation)[0] != found).sum()) <= 3


def test_hashes_survive_text() -> None:
    bits = np.stack([phash.perceptual_hash(GREY), phash.perceptual_hash(GREY[::-1].copy())])
    assert np.array_equal(phash.from_hex([phash.to_hex(item) for item in bits]), bits)


def test_the_tiled_search_finds_exactly_what_comparing_all_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(phash, "_ROWS", 16)
    monkeypatch.setattr(phash, "_COLUMNS", 32)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**20, 150).astype(np.uint64)
    pairs = [
        (int(i), int(j))
        for found in phash.near_pairs(words, words, 4)
        for i, j in zip(*found, strict=True)
    ]
    expected = [
        (i, j)
        for i in range(150)
        for j in range(i + 1, 150)
        if (int(words[i]) ^ int(words[j])).bit_count() <= 4
    ]
    assert expected
    assert sorted(pairs) == expected
