from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.apg import DEFAULTS, FAISS, OURS, WAYS, Task, exact_labels, main
from bench.apg_masks import OBJECTS, mask_sets
from bench.measure.document import Document


def test_the_benchmark_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "apg.json"
    assert main(["--rounds", "2", "--masks", "3", "--pause", "0", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(path.read_text())
    document = Document.read(path)
    keys = [figure.key for figure in document.figures]
    assert keys == ["apg_ms", "apg_vs_scikit_learn", "apg_vs_scikit_learn_bags"]
    assert all(DEFAULTS in figure.detail for figure in document.figures[1:])
    groups = {row.group for row in document.rows}
    assert OBJECTS in groups
    assert len(document.rows) == len(groups) * len(WAYS)
    for row in document.rows:
        if row.name == FAISS and row.note:
            assert len(row.samples) == 0
            continue
        assert len(row.samples) == 6
        if row.name == OURS:
            assert row.figures["share_same_points"] == row.figures["share_same_distance"] == 1


def test_masks_are_as_large_as_their_set_says_and_the_same_for_the_same_seed() -> None:
    sets, again = mask_sets(6), mask_sets(6)
    shares = {
        name: [float((logits > 0).mean()) for logits in found] for name, found in sets.items()
    }
    assert 0.009 < min(shares[OBJECTS]) < max(shares[OBJECTS]) < 0.21
    assert 0.19 < min(shares["large, 20 to 50 %"]) < max(shares["large, 20 to 50 %"]) < 0.51
    for name, found in sets.items():
        assert all(np.array_equal(a, b) for a, b in zip(found, again[name], strict=True))


def test_the_exact_answer_is_that_of_pixels_counted_by_hand() -> None:
    """Ten in a row, cut in the middle; the start is not."""
    pixels = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    labels = exact_labels(pixels, np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert labels.tolist() == [0] * 5 + [1] * 5
    logits = np.full((128, 128), -1, np.float32)
    logits[3, 2:12] = 1
    assert Task.of(logits).pair.tolist() == [[2, 3], [11, 3]]
