"""The generated code is what the protocol file gives."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

from apsam_serve.v1 import segmentation_pb2 as pb

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "protos/apsam_serve/v1/segmentation.proto"


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos"), *outputs]
    subprocess.run([*command, str(PROTO)], check=True)
    for made in (tmp_path / "apsam_serve/v1").iterdir():
        committed = ROOT / "apsam_serve/v1" / made.name
        assert committed.read_text() == made.read_text(), f"run `make proto`: {made.name} differs"


def test_every_field_and_every_value_has_a_comment() -> None:
    lines = PROTO.read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"\s+[\w. ]+ = \d+;", line):
            assert before.strip().startswith("//"), f"no comment above {line.strip()!r}"


def test_each_call_has_its_own_messages_and_each_enum_an_unspecified_zero() -> None:
    for method in pb.DESCRIPTOR.services_by_name["SegmentationService"].methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
