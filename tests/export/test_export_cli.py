"""`apsam-export` as people call it: modes, requests, the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apsam_export import export as export_module
from apsam_export.cli import main, table
from apsam_export.errors import RangeError
from apsam_export.gate.parity import compare
from apsam_export.gate.reference import Reference
from apsam_export.gate.thresholds import THRESHOLDS
from apsam_export.request import Request
from apsam_serve.runtime.fake import FakeRunner
from tests.export.gate.test_parity import SPEC, Altered, grown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "one of the arguments --checkpoint --verify --inspect is required"),
        (["--verify", "b", "--inspect", "b"], "not allowed with argument --verify"),
        (["--checkpoint", "c"], "--checkpoint needs --out BUNDLE"),
        (["--verify", "b", "--out", "o"], "--out: with --checkpoint alone"),
        (["--inspect", "b", "--trt", "--sign", "k"], "--trt or --rtx, --sign: with --checkpoint"),
        (["--inspect", "b", "--record"], "--record goes with --verify alone"),
        (["--checkpoint", "c", "--out", "o", "--precision", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_modes_exclude_each_other(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_options_become_one_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def export(checkpoint: Path, out: Path, **options: Any) -> dict[str, str]:
        seen.update(options, paths=(checkpoint, out))
        return {"trt-fp16": "no GPU"}

    monkeypatch.setattr(export_module, "export", export)
    command = "--checkpoint c --out o --sam s --precision fp16 --precision bf16 --precision fp16"
    more = "--rtx --trt --kernels sm_80,sm_89 --plan-cache p --sign k.pem"
    assert main([*command.split(), *more.split()]) == 0
    assert seen["paths"] == (Path("c"), Path("o"))
    assert seen["sam"] == Path("s")
    assert seen["request"] == Request(
        twins=("fp16", "bf16"),
        plans=("tensorrt_rtx", "tensorrt"),
        kernels=("sm_80", "sm_89"),
        plan_cache=Path("p"),
        sign_with=Path("k.pem"),
    )
    assert "trt-fp16 was not run: no GPU" in capsys.readouterr().out
    assert main([*command.split(), "--json"]) == 0
    given = {"bundle": "o", "builds": {"trt-fp16": {"not_run": "no GPU"}}}
    assert json.loads(capsys.readouterr().out) == given
    assert main(["--checkpoint", "c", "--out", "o"]) == 0
    assert seen["request"] == Request()


def test_a_model_that_does_not_fit_its_precision_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(*_args: Any, **_options: Any) -> None:
        raise RangeError("x is 7e4, over the largest FP16")

    monkeypatch.setattr(export_module, "export", export)
    assert main(["--checkpoint", "c", "--out", "o", "--precision", "fp16"]) == 1
    assert "error: x is 7e4" in capsys.readouterr().err


@pytest.mark.parametrize(("written", "said"), [(False, "was not written"), (True, "lacks its sig")])
def test_an_interrupted_export_says_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    written: bool,
    said: str,
) -> None:
    def export(_checkpoint: Path, out: Path, **_options: Any) -> None:
        if written:
            out.mkdir()
            (out / "manifest.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "export", export)
    assert main(["--checkpoint", "c", "--out", str(tmp_path / "o")]) == 130
    assert said in capsys.readouterr().err


def test_the_table_has_a_line_per_build_and_every_failure() -> None:
    reference = Reference.of_runner(FakeRunner(SPEC), num_images=2)
    right = compare(reference, Altered(), THRESHOLDS["fp32"])
    wrong = compare(reference, Altered(decoded=grown), THRESHOLDS["fp32"])
    lines = str(table({"fp32": right, "fp16": wrong, "trt": "no GPU"})).splitlines()
    figures = ["0.0e+00", "1.0000", "1.0000", "0.0%", "0.0%", "100.0%"]
    assert lines[1].split() == ["fp32", "passed", *figures]
    assert lines[2].startswith("fp16   FAILED")
    assert lines[3].startswith("trt    not run")
    assert lines[4:-1] == [f"fp16: {failure}" for failure in wrong.failures()]
    assert lines[-1] == "trt was not run: no GPU"
