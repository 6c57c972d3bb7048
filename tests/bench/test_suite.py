"""The suite runs benchmarks as processes, keeps what worked and tells what did not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import suite
from bench.goals import GOALS
from bench.suite import CPU, GPU, Run

APG = Run(theme="points", module="apg", short="--rounds 1 --masks 2 --pause 0")
BROKEN = Run(theme="broken", module="apg", short="--no-such-option")


def test_a_benchmark_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "CPU", (BROKEN, APG))
    monkeypatch.setattr(suite, "hardware", lambda: "cpu9")
    assert suite.main(["--short", "--out", str(tmp_path)]) == 1
    (kept,) = tmp_path.glob("points_cpu9_*.json")
    assert json.loads(kept.read_text())["benchmark"] == "apg"
    table = kept.with_suffix(".md").read_text()
    assert "python -m bench.apg --rounds 1 --masks 2" in table
    assert "| figure | value |" in table
    assert "<svg" in kept.with_suffix(".html").read_text()
    assert not list(tmp_path.glob("broken*"))
    told = capsys.readouterr()
    assert f"| {GOALS[0].what} |" in told.out
    assert "failed: broken" in told.err


def test_a_theme_that_nobody_knows_names_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        suite.main(["--only", "nothing", "--out", str(tmp_path)])
    assert "--only nothing leaves nothing; choose of latency_tiny" in capsys.readouterr().err


@pytest.mark.parametrize("run", [*CPU, *GPU], ids=lambda run: run.theme)
def test_every_benchmark_of_the_suite_is_there(run: Run) -> None:
    assert (Path(suite.__file__).parent / f"{run.module}.py").exists()
