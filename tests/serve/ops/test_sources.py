"""Which compiled file runs on which device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsam_serve.contract.manifest import KernelSpec
from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.sources import MODULE, kernel_file, source_files, source_sha256

SPEC = KernelSpec(
    source_sha256=source_sha256(),
    compiler="NVRTC 13.5",
    options=(),
    files={f"sm_{number}": f"kernels/sm_{number}.cubin" for number in (80, 86, 89, 90, 120)},
)


def test_the_source_is_part_of_the_package() -> None:
    files = source_files()
    assert MODULE in files
    assert list(files) == sorted(files)
    included = {line.split('"')[1] for line in files[MODULE].decode().splitlines() if '"' in line}
    assert included < files.keys()


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [((8, 0), 80), ((8, 6), 86), ((8, 7), 86), ((8, 9), 89), ((9, 0), 90), ((12, 1), 120)],
)
def test_the_newest_file_of_the_devices_major_version_is_taken(
    capability: tuple[int, int], architecture: int
) -> None:
    assert kernel_file(SPEC, capability) == f"kernels/sm_{architecture}.cubin"


@pytest.mark.parametrize("capability", [(7, 5), (10, 0)])
def test_a_device_without_a_file_is_refused(capability: tuple[int, int]) -> None:
    name = f"sm_{capability[0]}{capability[1]}"
    with pytest.raises(BackendUnavailableError, match=f"no kernels for {name}; it has sm_120, sm_"):
        kernel_file(SPEC, capability)


def test_an_older_device_of_the_same_major_version_is_refused() -> None:
    only_newer = replace(SPEC, files={"sm_89": "kernels/sm_89.cubin"})
    with pytest.raises(BackendUnavailableError, match="no kernels for sm_86; it has sm_89; export"):
        kernel_file(only_newer, (8, 6))


def test_kernels_of_another_source_are_refused() -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"compiled from source 000000000000, .*again"
    ):
        kernel_file(replace(SPEC, source_sha256="0" * 64), (9, 0))
