"""The table of goals: what was measured last, held against what is to be reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.goals import GOALS, main, markdown, read
from bench.measure.card import ROOT
from bench.measure.document import Document, Figure

GPU = {"name": "H200"}


def saved(
    path: Path,
    *figures: Figure,
    date: str = "2026-01-02T00:00:00+00:00",
    gpus: Sequence[Mapping[str, str]] = (),
) -> Path:
    card: dict[str, Any] = {"date": date, "cpu": "EPYC", "cores": 2, "gpus": list(gpus)}
    document = Document(benchmark="x", settings={}, rows=(), figures=figures, card=card, command="")
    path.write_text(json.dumps(document.to_json()))
    return path


def table(capsys: pytest.CaptureFixture[str], *paths: Path) -> dict[str, list[str]]:
    """Key -> to reach, measured, reached?, command."""
    assert main([str(path) for path in paths]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert [row[0] for row in cells] == [goal.what for goal in GOALS]
    return {goal.key: row[1:] for goal, row in zip(GOALS, cells, strict=True)}


def test_every_goal_has_a_key_and_a_name_of_its_own() -> None:
    assert len({goal.key for goal in GOALS}) == len(GOALS) == 19


def test_what_was_not_measured_is_not_run_and_says_how_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = table(capsys, saved(tmp_path / "a.json"))
    assert all(row[1:3] == ["not run", ""] for row in found.values())
    gpu = {goal.key for goal in GOALS if goal.hardware == "gpu"}
    assert {key for key, row in found.items() if row[3] == "`make bench-gpu`"} == gpu
    assert len(gpu) == 7


@pytest.mark.parametrize(
    ("figure", "measured", "reached"),
    [
        (Figure(key="click_vs_predictor_tiny", value=3.5, low=3.2, high=3.75),
         "3.50x (3.20 to 3.75)", "yes"),
        (Figure(key="click_vs_predictor_tiny", value=3.1, low=2.9, high=3.3),
         "3.10x (2.90 to 3.30)", "undecided: the interval holds the goal"),
        (Figure(key="click_vs_predictor_tiny", value=2, low=1.9, high=2.1),
         "2.00x (1.90 to 2.10)", "no"),
        (Figure(key="service_cost_ms_tiny", value=2), "2.00 ms", "yes"),
        (Figure(key="service_cost_ms_tiny", value=2.01), "2.01 ms", "no"),
        (Figure(key="resident_mb_tiny", value=218.4, detail="a|b"), "218 MB, a\\|b", "yes"),
        (Figure(key="stations_fairness_tiny", value=0.5, low=0.4, high=0.6),
         "50 % (40 to 60)", "no"),
        (Figure(key="click_vs_predictor_tiny", value=0, refused="mean IoU 0.5"),
         "not compared: mean IoU 0.5", ""),
    ],
)  # fmt: skip
def test_a_figure_stands_with_its_interval_and_whether_it_suffices(
    figure: Figure, measured: str, reached: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = table(capsys, saved(tmp_path / "a.json", figure))[figure.key]
    assert found[1:3] == [measured, reached]


def test_the_figure_measured_last_counts_whatever_the_order_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(
        tmp_path / "old.json",
        Figure(key="apg_ms", value=9),
        Figure(key="cold_start_s_tiny", value=4),
    )
    # Later as an instant, earlier as a text.
    new = saved(
        tmp_path / "new.json", Figure(key="apg_ms", value=0.5), date="2026-01-01T23:30:00-01:00"
    )
    for order in ((old, new), (new, old)):
        found = table(capsys, *order)
        assert found["apg_ms"][1] == "0.5 ms"
        assert found["cold_start_s_tiny"][1] == "4.00 s"


def test_a_goal_counts_only_what_its_kind_of_machine_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = (
        Figure(key="cold_start_s_tiny", value=4),
        Figure(key="encode_vit_l_ceiling_share", value=0.61),
    )
    later = "2026-01-03T00:00:00+00:00"
    cpu = saved(tmp_path / "cpu.json", *both)
    gpu = saved(tmp_path / "gpu.json", *both, Figure(key="apg_ms", value=1), date=later, gpus=[GPU])
    found = table(capsys, cpu, gpu)
    assert found["cold_start_s_tiny"][1] == "4.00 s"
    assert found["encode_vit_l_ceiling_share"][1:3] == ["61 %", "yes"]
    assert found["apg_ms"][1] == "not run"
    assert main([str(cpu), str(gpu)]) == 0
    told = capsys.readouterr().out
    assert "- 2 CPU cores (EPYC): cpu.json\n- H200, 2 CPU cores (EPYC): gpu.json" in told


def test_it_says_what_was_measured_where_and_which_files_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"hardware": "?"}')
    assert main([str(other), str(saved(tmp_path / "a.json", Figure(key="apg_ms", value=1)))]) == 0
    said = capsys.readouterr()
    assert "- 2 CPU cores (EPYC): a.json" in said.out
    assert "other.json: left out: schema is None: expected 'apsam-bench/1'" in said.err
    assert main([str(tmp_path / "gone.json")]) == 1
    assert "goals: error: " in capsys.readouterr().err


def test_the_readmes_table_is_that_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition("<!-- goals -->\n")[2].partition("<!-- /goals -->")[0]
    assert shown.strip() == markdown(read(sorted((ROOT / "bench/results").glob("*.json"))))
