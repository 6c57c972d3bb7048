"""The launcher on machines that cannot launch."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apsam_serve.errors import BackendUnavailableError
from apsam_serve.ops.device import DeviceKernels, compute_capability
from apsam_serve.ops.kernels import BEST_MASK


def test_nothing_is_touched_before_open(tmp_path: Path) -> None:
    DeviceKernels(tmp_path / "missing.cubin").close()


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendUnavailableError, match=r"not installed here .* pip install"):
        DeviceKernels(tmp_path / "sm_90.cubin").open()


def test_a_missing_device_or_context_is_named(tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings", reason="a library of the kernels extra")
    kernels = DeviceKernels(tmp_path / "sm_90.cubin")
    with ThreadPoolExecutor(1) as fresh:  # a thread without a context on machines with a GPU too
        for ask in (kernels.open, compute_capability):
            with pytest.raises(
                BackendUnavailableError, match=r"no CUDA device|no current CUDA context"
            ):
                fresh.submit(ask).result()
    kernels.close()


def test_arguments_lie_where_the_addresses_point() -> None:
    arguments = BEST_MASK.arguments(
        {"iou": 1, "logits": 2, "num_masks": 3, "side": 4, "best": 5, "score": 6, "finite": None}
    )
    assert [value.value for value in arguments.held] == [1, 2, 3, 4, 5, 6, None]
    assert arguments.addresses[0] != arguments.addresses[1]


def test_arguments_must_be_the_kernels() -> None:
    with pytest.raises(AssertionError, match="best_mask takes iou, logits"):
        BEST_MASK.arguments({"iou": 1})
