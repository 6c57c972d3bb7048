"""`make demo` and `make demo-train` in small: every step of them, none of their patience."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def demo(out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.demo", "--out", str(out), "--port", "0", *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with demo(tmp_path) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was not made by the demo; choose another --out" in said
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_demo_serves_a_page_with_its_bags_until_it_is_told_to_end(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with demo(out) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"Open (http\S+) and click", line):
                with urllib.request.urlopen(f"{found[1]}api/images", timeout=30) as answer:
                    listed = answer.read().decode()
                process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert listed.count('"name"') == 8
    assert "APG points" in said
    assert (out / "sheet.png").stat().st_size > 10_000
    assert (out / "bundle" / "parity.json").exists()


@pytest.mark.slow
def test_the_model_is_trained_from_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.demo_training", "--share", "0.003"]
    subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, check=True)
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 12e6
    assert "| category |" in (tmp_path / "model" / "README.md").read_text()
