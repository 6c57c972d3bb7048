"""GPU kernels compile on any machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apsam_export import kernels
from apsam_export.errors import KernelError
from apsam_export.kernels import ARCHITECTURES, check, compile_kernels
from apsam_serve.contract.manifest import KernelSpec
from apsam_serve.ops.kernels import KERNELS
from apsam_serve.ops.sources import MODULE, source_files, source_sha256

pytest.importorskip("cuda.bindings.nvrtc", reason="a library of the kernels extra")

CUDA_MACHINE = 190
"""e_machine of NVIDIA's ELF files."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KernelSpec]:
    folder = tmp_path_factory.mktemp("compiled")
    return folder, compile_kernels(folder)


def test_the_spec_names_source_compiler_and_files(compiled: tuple[Path, KernelSpec]) -> None:
    folder, spec = compiled
    assert spec.source_sha256 == source_sha256()
    assert spec.compiler.startswith("NVRTC ")
    assert "--fmad=false" in spec.options
    written = {file.relative_to(folder).as_posix() for file in folder.rglob("*.cubin")}
    assert set(spec.files.values()) == written


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_file_is_machine_code_of_its_architecture(
    compiled: tuple[Path, KernelSpec], architecture: str
) -> None:
    folder, spec = compiled
    cubin = (folder / spec.files[architecture]).read_bytes()
    assert cubin[:4] == b"\x7fELF"
    assert int.from_bytes(cubin[18:20], "little") == CUDA_MACHINE
    flags = cubin[48:52]  # e_flags, in whose first or, since CUDA 13, second byte it stands
    assert int(architecture.removeprefix("sm_")) in flags[:2]
    for kernel in KERNELS:
        assert f".text.{kernel.name}\0".encode() in cubin


def test_the_same_source_gives_the_same_bytes(
    compiled: tuple[Path, KernelSpec], tmp_path: Path
) -> None:
    folder, spec = compiled
    again = compile_kernels(tmp_path, ["sm_90"])
    first, second = (root / spec.files["sm_90"] for root in (folder, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert again.files == {"sm_90": "kernels/sm_90.cubin"}


@pytest.mark.parametrize("architecture", ["sm_1", "ampere", ""])
def test_an_unknown_architecture_lists_those_there_are(tmp_path: Path, architecture: str) -> None:
    with pytest.raises(KernelError, match=rf"no architecture {architecture}; choose from .*sm_90"):
        compile_kernels(tmp_path, ["sm_90", architecture])
    with pytest.raises(KernelError, match="knows no architecture"):
        check([architecture])
    assert not list(tmp_path.iterdir())


def test_a_source_that_does_not_compile_shows_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**source_files(), MODULE: b"int no_semicolon"}
    monkeypatch.setattr(kernels, "source_files", lambda: broken)
    with pytest.raises(KernelError, match=r"does not compile for sm_90(.|\n)*expected a \";\""):
        compile_kernels(tmp_path, ["sm_90"])


def test_without_the_compiler_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(KernelError, match=r"pip install 'apsam\[kernels\]'"):
        compile_kernels(tmp_path, ["sm_90"])
