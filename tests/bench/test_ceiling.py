"""The ceiling in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import ceiling
from bench.ceiling import Shape, measure

SMALL = (Shape(rows=8, inputs=16, outputs=32), Shape(rows=16, inputs=16, outputs=16))


def test_the_fastest_of_all_libraries_and_shapes_is_the_ceiling() -> None:
    found = measure("cpu", "fp32", 1, rounds=2, shapes=SMALL)
    assert len(found.rows) == 4
    assert {row.group for row in found.rows} == {
        "PyTorch, fp32 on cpu",
        "ONNX Runtime, fp32 on cpu",
    }
    assert found.gflop_per_s == max(row.figures["gflop_per_s"] for row in found.rows) > 0
    assert found.shape in SMALL
    found.run()


def test_the_command_writes_a_row_per_library_and_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ceiling.SHAPES, "cpu", SMALL)
    path = tmp_path / "ceiling.json"
    assert ceiling.main(["--rounds", "1", "--threads", "1", "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    assert document["benchmark"] == "ceiling"
    assert [row["name"] for row in document["rows"]] == [str(shape) for shape in SMALL] * 2


def test_half_precision_on_a_cpu_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ceiling.main(["--dtype", "bf16"])
    assert "--dtype bf16: on cpu choose one of fp32" in capsys.readouterr().err
