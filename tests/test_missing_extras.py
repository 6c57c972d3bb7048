"""Commands of an install without their extra say which one to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = (
    "import sys; sys.modules[{hidden!r}] = None; from {module} import main; sys.exit(main({argv}))"
)


@pytest.mark.parametrize(
    ("module", "hidden", "argv", "extra"),
    [
        ("apsam_serve.cli", "grpc_reflection", ["--bundle", "x"], "apsam[serve]"),
        ("apsam_serve.console.cli", "aiohttp", [], "apsam[console]"),
        ("apsam_train.cli", "torch", ["fit", "--data", "x", "--out", "y"], "apsam[train]"),
        ("apsam_export.cli", "onnx", ["--checkpoint", "x", "--out", "y"], "apsam[export]"),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    module: str, hidden: str, argv: list[str], extra: str
) -> None:
    code = HIDE.format(hidden=hidden, module=module, argv=argv)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"error: {hidden}" in done.stderr
    assert f"is not installed; pip install '{extra}'" in done.stderr
