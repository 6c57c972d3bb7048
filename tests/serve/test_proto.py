"""The generated code is what the protocol file gives."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apsam_serve.v1 import segmentation_pb2 as pb

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos").rglob("*.proto"))


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos"), *outputs]
    subprocess.run([*command, *map(str, PROTOS)], check=True)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.py*")]
    assert len(made) == 3 * len(PROTOS) == 6
    for path in made:
        fresh = (tmp_path / path).read_text()
        assert (ROOT / path).read_text() == fresh, f"run `make proto`: {path} differs"


@pytest.mark.parametrize("proto", PROTOS, ids=lambda path: path.name)
def test_every_field_and_every_value_has_a_comment(proto: Path) -> None:
    for before, line in itertools.pairwise(proto.read_text().splitlines()):
        if re.match(r"\s+[\w.<>, ]+ = \d+;", line):
            assert before.strip().startswith("//"), f"no comment above {line.strip()!r}"


def test_each_call_has_its_own_messages_and_each_enum_an_unspecified_zero() -> None:
    for method in pb.DESCRIPTOR.services_by_name["SegmentationService"].methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
