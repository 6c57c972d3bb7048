"""The launcher on machines that cannot launch."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from apsam_serve.errors import BackendUnavailableError, DeviceFaultError
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


def test_a_launch_that_is_refused_is_a_fault_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = SimpleNamespace(CUDA_SUCCESS=SimpleNamespace(name="CUDA_SUCCESS"))
    refused = SimpleNamespace(name="CUDA_ERROR_ILLEGAL_ADDRESS")
    fine = (codes.CUDA_SUCCESS,)
    driver = SimpleNamespace(
        CUresult=codes,
        cuInit=lambda _: fine,
        cuCtxGetCurrent=lambda: (*fine, 1),
        cuModuleLoadData=lambda _: (*fine, "module"),
        cuModuleGetFunction=lambda _module, name: (*fine, name),
        cuModuleUnload=lambda _: fine,
        cuLaunchKernel=lambda *_: (refused,),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    runtime = SimpleNamespace(cudaGetDeviceCount=lambda: (0, 1))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    (tmp_path / "sm_90.cubin").write_bytes(b"kernels")
    kernels = DeviceKernels(tmp_path / "sm_90.cubin")
    kernels.open()
    values = dict.fromkeys(BEST_MASK.parameters, 4)
    message = "CUDA_ERROR_ILLEGAL_ADDRESS: best_mask on a grid of 3 x 1 was not started"
    with pytest.raises(DeviceFaultError, match=message):
        kernels.launch(BEST_MASK, (3, 1), values, stream=7)
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
