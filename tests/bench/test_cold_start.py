from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cold_start
from bench.measure.document import Document


def test_every_start_answers_a_click_and_its_steps_are_told_apart(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    arguments = ["--bundle", str(tiny_bundle), "--rounds", "1", "--json", str(path)]
    assert cold_start.main([*arguments, "--", "--threads", "1"]) == 0
    document = Document.from_json(json.loads(path.read_text("utf-8")))
    serving, clicked, *steps, imports = document.rows
    assert 0 < serving.samples[0] < clicked.samples[0]
    assert clicked.mask_iou is not None
    assert clicked.mask_iou.minimum == 1
    assert [row.name for row in steps] == [
        "interpreter",
        "imports of the service",
        "import of ONNX Runtime",
        "verifying the bundle",
        "loading the graphs",
        "first encode and click",
    ]
    resident = [row.figures["resident_mb"] for row in steps]
    assert 0 < resident[0] < resident[1] < resident[-1]
    assert {"apsam_serve_ms", "numpy_ms", "standard library_ms"} <= imports.figures.keys()
    (figure,) = document.figures
    assert figure.key == "cold_start_s_tiny"
    assert document.settings["preset"] == "tiny"
    assert figure.value == pytest.approx(serving.samples[0], rel=1e-3)
