"""The ceiling in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import ceiling
from bench.ceiling import Shape, measure
from bench.gpu_clock import device_ms

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


def test_only_an_event_that_was_waited_for_ends_a_measurement_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Products are queued between two events; the double's GPU takes 3 ms for each."""
    log: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = log.count("product")
            log.append("record")

        def synchronize(self) -> None:
            log.append("wait")

        def elapsed_time(self, end: Event) -> float:
            assert log[-1] == "wait"
            return 3.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert device_ms(lambda: log.append("product"), device="cuda", num_runs=4) == 3.0
    assert log == ["record", *["product"] * 4, "record", "wait"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--dtype", "bf16"], "--dtype bf16: on cpu choose one of fp32"),
        (["--rounds", "0"], "0: expected a whole number above 0"),
        pytest.param(
            ["--device", "cuda"],
            "finds no NVIDIA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ceiling.main(words)
    assert why in capsys.readouterr().err
