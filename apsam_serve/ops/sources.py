"""The kernels' source, which is part of the package, and the file compiled from it for a device."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from apsam_serve.contract.manifest import KernelSpec
from apsam_serve.errors import BackendUnavailableError

MODULE = "kernels.cu"
"""The file that includes all others."""


def source_files() -> dict[str, bytes]:
    """Every file of the source by name, sorted."""
    folder = files("apsam_serve.ops") / "source"
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {name: found[name] for name in sorted(found) if name.endswith((".cu", ".cuh"))}


def source_sha256() -> str:
    """SHA-256 (hex) over names and contents: what compiled kernels belong to."""
    digest = hashlib.sha256()
    for name, content in source_files().items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def kernel_file(spec: KernelSpec, compute_capability: tuple[int, int]) -> str:
    """The file of the bundle whose kernels run on a device of that compute capability.

    Machine code runs on its own major version, from its minor version up. Raises
    BackendUnavailableError where none does, or where it was compiled from another source.
    """
    if spec.source_sha256 != source_sha256():
        raise BackendUnavailableError(
            f"the bundle's kernels were compiled from source {spec.source_sha256[:12]}, this "
            f"version of apsam has {source_sha256()[:12]}; export the bundle again with it"
        )
    major, minor = compute_capability
    fitting = {
        has[1]: file
        for architecture, file in spec.files.items()
        if (has := _capability(architecture))[0] == major and has[1] <= minor
    }
    if not fitting:
        raise BackendUnavailableError(
            f"the bundle has no kernels for sm_{major}{minor}; it has "
            f"{', '.join(sorted(spec.files)) or 'none'}; "
            f"export it again with kernels for sm_{major}{minor}"
        )
    return fitting[max(fitting)]


def _capability(architecture: str) -> tuple[int, int]:
    number = int(architecture.removeprefix("sm_"))
    return number // 10, number % 10
