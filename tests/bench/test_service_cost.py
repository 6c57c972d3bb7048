"""The benchmark in miniature: its document's fields, never a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import service_cost
from bench.measure.document import Document

STAGES = {"decode_1", "points", "decode_2", "mask", "network"}


def test_both_ways_give_the_same_masks_and_their_difference_is_the_figure(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "cost.json"
    words = ["--bundle", tiny_bundle, "--threads", 1, "--rounds", 9, "--json", written]
    assert service_cost.main([str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(written.read_text())
    document = Document.read(written)
    remote, local, difference = document.rows
    assert remote.mask_iou is not None
    assert (remote.mask_iou.num, remote.mask_iou.minimum) == (9, 1.0)
    assert set(local.stages) == STAGES
    assert set(remote.stages) == STAGES | {"queue", "serialise"}
    assert set(remote.figures) == {"server_cpu_ms", "client_cpu_ms", "idle_server_cpu_ms"}
    for row in (remote, local):
        summed = [sum(values) for values in zip(*row.stages.values(), strict=True)]
        assert summed == pytest.approx(row.samples, rel=0.01)
    assert len(difference.samples) == 9
    (figure,) = document.figures
    assert figure.key == "service_cost_ms"
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.high


def test_a_server_that_does_not_start_ends_it_with_what_it_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert service_cost.main(["--bundle", str(tmp_path), "--rounds", "2"]) == 1
    assert "manifest.json" in capsys.readouterr().err
