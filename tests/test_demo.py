"""`make demo` in small: every step of it, none of its patience."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.demo", "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = demo(tmp_path)
    assert done.returncode == 1
    assert "was not made by the demo; choose another --out" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.slow
def test_every_step_runs_and_both_figures_are_printed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = demo(out, "--train-images", "16", "--test-images", "4", "--minutes", "0.1")
    assert "APSAM with adaptive points" in done.stdout, done.stderr
    assert "flood fill from the click" in done.stdout
    assert (out / "sheet.png").stat().st_size > 10_000
    assert (out / "bundle" / "parity.json").exists()
