"""GPU kernels compiled ahead of time: NVIDIA's run-time compiler, which needs no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apsam_export.errors import KernelError
from apsam_serve.contract.manifest import KernelSpec
from apsam_serve.ops.sources import MODULE, source_files, source_sha256

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
"""A100; RTX 30; RTX 40 and L40S; H100 and H200; RTX 50 and RTX PRO Blackwell."""
OPTIONS = ("--std=c++17", "--fmad=false")
"""No fused multiply-add: the answers are those of the contract's NumPy code, bit for bit."""
FOLDER = "kernels"


def check(architectures: Sequence[str]) -> None:
    """Raise KernelError unless the compiler is there and knows these architectures."""
    nvrtc = _nvrtc()
    known = [f"sm_{number}" for number in _checked(nvrtc, nvrtc.nvrtcGetSupportedArchs())]
    unknown = [architecture for architecture in architectures if architecture not in known]
    if unknown:
        raise KernelError(
            f"NVRTC knows no architecture {', '.join(unknown)}; choose from {', '.join(known)}"
        )


def compile_kernels(folder: Path, architectures: Sequence[str] = ARCHITECTURES) -> KernelSpec:
    """Compile the kernels to folder/kernels/<architecture>.cubin; the same source, compiler and
    architecture give the same bytes.

    Raises KernelError as `check` does, and with the compiler's log where it refuses the source.
    """
    check(architectures)
    nvrtc = _nvrtc()
    sources = source_files()
    compiled = {name: _compile(nvrtc, sources, name) for name in architectures}
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, cubin in compiled.items():
        (folder / FOLDER / f"{name}.cubin").write_bytes(cubin)
    major, minor = _checked(nvrtc, nvrtc.nvrtcVersion())
    return KernelSpec(
        source_sha256=source_sha256(),
        compiler=f"NVRTC {major}.{minor}",
        options=OPTIONS,
        files={name: f"{FOLDER}/{name}.cubin" for name in architectures},
    )


def _nvrtc() -> Any:
    """`cuda.bindings.nvrtc`, with its library loaded."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:  # RuntimeError: the bindings without the compiler
        raise KernelError(
            f"GPU kernels are compiled with NVRTC, which is not installed ({error}); "
            "pip install 'apsam[kernels]'"
        ) from error
    return nvrtc


def _compile(nvrtc: Any, sources: dict[str, bytes], architecture: str) -> bytes:
    included = {name: content for name, content in sources.items() if name != MODULE}
    program = _checked(
        nvrtc,
        nvrtc.nvrtcCreateProgram(
            sources[MODULE],
            MODULE.encode(),
            len(included),
            list(included.values()),
            [name.encode() for name in included],
        ),
    )
    try:
        options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={architecture}")]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = b" " * _checked(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            _checked(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
            raise KernelError(
                f"{MODULE} does not compile for {architecture}; NVRTC expects another source or "
                f"version:\n{log.decode(errors='replace').rstrip(chr(0))}"
            )
        cubin: bytes = b" " * _checked(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
        _checked(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin))
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _checked(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    """NVRTC's answer without its status, a tuple where there are several values."""
    status, *values = answer
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise KernelError(
            f"NVRTC answered {status.name}, expected success; install another version"
        )
    return values[0] if len(values) == 1 else tuple(values)
