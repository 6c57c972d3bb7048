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
    words = ["--bundle", tiny_bundle, "--threads", 1, "--rounds", 3, "--clicks", 2]
    assert service_cost.main([str(word) for word in (*words, "--json", written)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(written.read_text())
    document = Document.read(written)
    assert document.settings["weights"] == "those of the bundle that was given"
    remote, local, remote_first, local_first = document.rows
    assert remote.mask_iou is not None
    assert (remote.mask_iou.num, remote.mask_iou.minimum) == (9, 1.0)
    assert set(local.stages) == set(local_first.stages) == STAGES
    assert set(remote.stages) == set(remote_first.stages) == STAGES | {"queue", "serialise"}
    assert set(remote.figures) == {"server_cpu_ms", "client_cpu_ms", "idle_server_cpu_ms"}
    assert [len(row.samples) for row in document.rows] == [6, 6, 3, 3]
    for row in document.rows:
        summed = [sum(values) for values in zip(*row.stages.values(), strict=True)]
        assert summed == pytest.approx(row.samples, rel=0.01)
    keys = [figure.key for figure in document.figures]
    assert keys == ["service_cost_ms_tiny", "service_cost_after_pause_ms_tiny"]
    for figure in document.figures:
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
