from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from bench import stations
from bench.measure.document import MaskIou
from bench.measure.loops import Shot
from bench.stations_generator import Heard


@pytest.fixture(scope="module")
def document(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> stations.Document:
    path = tmp_path_factory.mktemp("stations") / "found.json"
    short = ("--rounds", "1", "--seconds", "0.2", "--warm-up-s", "0.05", "--images", "2")
    arguments = ["--bundle", str(tiny_bundle), "--json", str(path), "--stations", "1,8", *short]
    assert stations.main([*arguments, "--", "--threads", "1"]) == 0
    return stations.Document.from_json(json.loads(path.read_text("utf-8")))


def test_more_stations_share_batches_and_get_the_masks_that_one_alone_gets(
    document: stations.Document,
) -> None:
    one, many = document.rows
    assert (one.name, many.name) == ("1 station", "8 stations")
    assert one.figures["clicks_per_batch"] == 1
    assert many.figures["clicks_per_batch"] > 1
    for row in document.rows:
        assert isinstance(row.mask_iou, MaskIou)
        assert row.mask_iou.minimum == 1
        assert not row.errors
        assert {"queue", "decode_1", "points", "decode_2"} <= row.stages.keys()
        assert row.figures["rate_per_s"] > 0
        assert row.figures["server_cpu_ms_per_click"] > 0
        assert row.figures["generator_cpu_ms_per_click"] > 0
        assert 0 <= row.figures["cores_for_others"] <= (os.cpu_count() or 1)


def test_the_goals_figures_are_there(document: stations.Document) -> None:
    gain, fairness = document.figures
    assert (gain.key, fairness.key) == ("stations_8_vs_1_tiny", "stations_fairness_tiny")
    assert gain.value > 0
    assert 0 < fairness.value <= 1


def test_a_station_that_hears_nothing_is_the_slowest() -> None:
    def shot(number: int, station: int, error: str = "") -> Shot:
        return Shot(
            intended_s=number, sent_s=number, done_s=number + 1, error=error, station=station
        )

    shots = [shot(0, 0), shot(1, 0), shot(2, 1), shot(3, 2, "RESOURCE_EXHAUSTED")]
    heard = Heard(shots=shots, times=Counter(), num_calls=4)
    run = stations.Run(
        num_stations=3, heard=heard, server_cpu_s=0, other_cpu_s=0, elapsed_s=4, batches=1, jobs=3
    )
    assert run.slowest_share == 0
    assert run.rate == 3 / 4
    assert run.seconds == 4
