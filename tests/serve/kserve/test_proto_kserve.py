"""The generated code is what the protocol file gives, and every field says what it is."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "protos/apsam_serve/kserve/open_inference.proto"


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos"), *outputs]
    subprocess.run([*command, str(PROTO)], check=True)
    made = sorted((tmp_path / "apsam_serve/kserve").iterdir())
    assert len(made) == 3
    for file in made:
        committed = ROOT / "apsam_serve/kserve" / file.name
        assert committed.read_text() == file.read_text(), f"run `make proto`: {file.name} differs"


def test_every_field_and_every_value_has_a_comment() -> None:
    for before, line in itertools.pairwise(PROTO.read_text().splitlines()):
        if re.match(r"\s+[\w.<>, ]+ = \d+;", line):
            assert before.strip().startswith("//"), f"no comment above {line.strip()!r}"
