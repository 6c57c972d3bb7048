"""The device path over a double of a device, and the path through host memory to hold it to."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsam_serve.contract.manifest import ModelSpec, open_bundle
from apsam_serve.engine.device_compute import DeviceCompute
from apsam_serve.engine.host_compute import HostCompute
from apsam_serve.runtime.base import Runner, RunnerOptions, load
from tests.serve.engine.device_cases import PLANES
from tests.serve.engine.device_double import HostDevice, HostRunner
from tests.serve.engine.gated import GatedRunner
from tests.serve.ops.host_build import load_host


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_host(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def device(kernels: ctypes.CDLL) -> HostDevice:
    return HostDevice(kernels)


@pytest.fixture(params=["tiny_bundle", "named_bundle"])
def bundle(request: pytest.FixtureRequest) -> Path:
    """Without and with a category head."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(params=[True, False], ids=["replayed", "queued anew"])
def runner(request: pytest.FixtureRequest, bundle: Path, device: HostDevice) -> HostRunner:
    return HostRunner(open_bundle(bundle), device, replayable=request.param)


@pytest.fixture
def compute(runner: HostRunner, device: HostDevice) -> Iterator[DeviceCompute]:
    made = DeviceCompute(runner, device, num_masks=PLANES)
    yield made
    if not device.faulty:
        made.close()
        assert device.allocated == 0


@pytest.fixture
def reference(bundle: Path) -> Iterator[HostCompute]:
    runner: Runner = load("onnxruntime")(open_bundle(bundle), RunnerOptions(threads=1))
    runner.open()
    yield HostCompute(runner, num_masks=PLANES)
    runner.close()


@pytest.fixture
def gated(model: ModelSpec) -> GatedRunner:
    return GatedRunner(model)
