"""The host build itself: signatures, and what a thread sanitizer says about the barriers."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from apsam_serve.ops.kernels import KERNELS, Kernel
from apsam_serve.ops.sources import source_files
from tests.serve.ops.host_build import compile_host

BARRIER = b"__syncthreads();"


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_parameters_are_those_of_the_source(kernel: Kernel) -> None:
    source = b"\n".join(source_files().values()).decode()
    (listed,) = re.findall(
        rf'extern "C" __global__ void __launch_bounds__\(\w+\)\s+{kernel.name}\((.*?)\)',
        source,
        re.DOTALL,
    )
    types = {"int": ctypes.c_int, "float": ctypes.c_float, "double": ctypes.c_double}
    found = {}
    for parameter in listed.split(","):
        *kind, name = parameter.split()
        found[name] = ctypes.c_void_p if "*" in "".join(kind) else types[kind[0]]
    assert list(found.items()) == list(kernel.parameters.items())


def _sanitized(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run races.cpp under ThreadSanitizer, which stops at the first race."""
    if shutil.which("g++") is not None:
        (folder / "empty.cpp").write_text("int main() {}")
        probe = ["g++", "-fsanitize=thread", "empty.cpp", "-o", "empty"]
        if subprocess.run(probe, cwd=folder, capture_output=True).returncode != 0:
            pytest.skip("this g++ has no ThreadSanitizer (package libtsan)")
    program = compile_host(folder, "races.cpp", ["-O1", "-fsanitize=thread"])
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    # Without random addresses, which older sanitizers cannot work with where there are many.
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    for command in ([str(program)], [*fixed, str(program)]):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if "unexpected memory mapping" not in done.stderr:
            return done
    pytest.skip("ThreadSanitizer does not run with this kernel's random addresses")


def test_no_barrier_is_missing(tmp_path: Path) -> None:
    done = _sanitized(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_missing_barrier_is_found(tmp_path: Path) -> None:
    content = source_files()["adaptive_points.cuh"]
    assert BARRIER in content
    (tmp_path / "adaptive_points.cuh").write_bytes(content.replace(BARRIER, b"", 1))
    done = _sanitized(tmp_path)
    assert done.returncode != 0
    assert "data race" in done.stderr
