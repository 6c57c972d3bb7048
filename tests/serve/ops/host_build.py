"""The kernels' source through g++."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from apsam_serve.ops.sources import source_files

SHIM = Path(__file__).parent


def compile_host(folder: Path, program: str, options: Sequence[str]) -> Path:
    """Compile host source `program` with the kernels' source, which is written to `folder` first
    unless it is there. Skips the test where there is no g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("the host build of the kernels needs g++ (C++20)")
    for name, content in source_files().items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
    out = folder / Path(program).stem
    command = [compiler, "-std=c++20", "-ffp-contract=off", "-pthread", *options]
    command += [f"-I{folder}", f"-I{SHIM}", str(SHIM / program), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def load_host(folder: Path) -> ctypes.CDLL:
    """The host build as a library, whose `launch` is that of host.cpp."""
    options = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    return ctypes.CDLL(str(compile_host(folder, "host.cpp", options)))
