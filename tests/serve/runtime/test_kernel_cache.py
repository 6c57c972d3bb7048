"""What TensorRT-RTX compiles at run time is compiled once for each GPU, over doubles."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apsam_serve.contract.manifest import open_bundle
from apsam_serve.runtime.base import Runner, RunnerOptions
from apsam_serve.runtime.tensorrt import create
from tests.serve.runtime.host_device import as_arguments, prompts
from tests.serve.runtime.plan_double import Device, RuntimeCache, add_plans, install

CUDA = RunnerOptions(device="cuda")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    install(monkeypatch, made)
    return made


@pytest.fixture
def plans(device: Device, fresh_bundle: Path) -> Path:
    add_plans(fresh_bundle, form="tensorrt_rtx")
    return fresh_bundle


@pytest.fixture
def options(tmp_path: Path) -> RunnerOptions:
    return replace(CUDA, cache=tmp_path / "cache")


def use(runner: Runner) -> None:
    """One image, one click."""
    model = runner.model
    runner.encode(np.zeros((1, model.side, model.side, 3), np.uint8))
    runner.decode(**as_arguments(prompts(model, images=1, num=1)))


def compiled_by(bundle: Path, options: RunnerOptions) -> int:
    """How many kernels TensorRT-RTX compiles for a runner that is used and closed."""
    before = RuntimeCache.total_compiled
    runner = create(open_bundle(bundle), options)
    runner.open()
    use(runner)
    runner.close()
    return RuntimeCache.total_compiled - before


def test_rtx_compiles_nothing_twice_on_one_gpu(
    device: Device, plans: Path, options: RunnerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled_by(plans, options) == 3 + 3  # with contexts, and for the first shapes
    assert compiled_by(plans, options) == 0
    assert compiled_by(plans, CUDA) == 6
    device.name = "another GPU"
    install(monkeypatch, device)
    assert compiled_by(plans, options) == 6


def test_what_rtx_compiled_is_kept_before_anybody_closes(
    plans: Path, options: RunnerOptions
) -> None:
    killed = create(open_bundle(plans), options)
    killed.open()
    use(killed)
    assert compiled_by(plans, options) == 0
    killed.close()


@pytest.mark.parametrize(
    "damage",
    [b"", b"x" * 100, hashlib.sha256(b"other").digest() + b"other"],
    ids=["empty", "damaged", "refused by the library"],
)
def test_damaged_kernels_are_compiled_again_with_a_warning(
    plans: Path, options: RunnerOptions, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    folder = options.cache
    assert folder is not None
    compiled_by(plans, options)
    files = sorted(folder.iterdir())
    assert len(files) == 3
    files[0].write_bytes(damage)
    assert compiled_by(plans, options) == 2
    assert f"{files[0]} is damaged or of another driver" in caplog.text
    assert compiled_by(plans, options) == 0


def test_a_cache_that_cannot_be_written_costs_time_only(
    plans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert compiled_by(plans, replace(CUDA, cache=tmp_path / "file")) == 6
    assert "kernels cannot be kept in" in caplog.text
