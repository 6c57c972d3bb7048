"""The demo model's card says what its files say."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from apsam_train.categories import CATEGORIES
from apsam_train.checkpoint import load_checkpoint
from bench.demo_card import headline, main, tables

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "demo"


def test_the_committed_tables_are_those_of_the_committed_evaluation() -> None:
    rows = json.loads((MODEL / "evaluation.json").read_text())["rows"]
    assert f"\n{tables(rows)}\n" in (MODEL / "README.md").read_text()
    assert f"\n{headline(rows)}\n" in (ROOT / "README.md").read_text()
    for row in rows:
        assert row["num_instances"] >= 2000
        assert set(row["protocols"]["apg"]["breakdown"]["category"]) == set(CATEGORIES)


def test_the_committed_model_loads_and_fits_the_repository() -> None:
    model, card = load_checkpoint(MODEL / "model.safetensors")
    assert card.preset == "demo"
    assert model.category_head is not None
    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= 12e6


def test_curves_are_drawn_and_a_card_without_marks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("evaluation.json", "training.jsonl"):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    (tmp_path / "README.md").write_text("# A model\n")
    assert main([str(tmp_path)]) == 1
    assert "has no <!-- figures --> and <!-- /figures -->" in capsys.readouterr().err
    (tmp_path / "README.md").write_text("# A model\n\n<!-- figures -->\n<!-- /figures -->\n")
    assert main([str(tmp_path)]) == 0
    assert "| Gun |" in (tmp_path / "README.md").read_text()
    curves = cv2.imread(str(tmp_path / "curves.png"))
    assert curves is not None
    assert len({tuple(pixel) for pixel in curves.reshape(-1, 3)[::7].tolist()}) > 5
