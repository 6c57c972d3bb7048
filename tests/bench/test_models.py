"""Bundles for benchmarks are made once, and again when what they are made from changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsam_train.checkpoint import load_checkpoint
from apsam_train.errors import ConfigError
from apsam_train.models import APSAM, Preset
from apsam_train.segmenter import open_checkpoint
from bench import models
from bench.measure.workload import synthetic
from tests.train.conftest import small_preset

__all__ = ["small_preset"]


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were exported, without the minutes that takes."""
    made: list[Path] = []

    def export(checkpoint: Path, out: Path, *options: str) -> Path:
        out.mkdir()
        made.append(out)
        return out

    monkeypatch.setattr(models, "export_bundle", export)
    monkeypatch.setattr(models, "_readable", Path.exists)
    monkeypatch.setattr(models, "TRAINED", {})
    return made


def test_a_bundle_is_made_once(
    exports: list[Path], small_preset: Preset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (models.bundle_of("tiny", kept=tmp_path) for _ in range(2))
    assert first == second
    assert first.note == "random weights, adaptive points on 4% of an image"
    assert exports == [first.bundle]
    said = f"tiny is exported to {first.bundle}, {first.note}; a large model takes minutes, once"
    assert capsys.readouterr().err.count(said) == 1
    assert models.bundle_of("tiny", options=("--rtx",), kept=tmp_path).bundle != first.bundle
    first.checkpoint.write_bytes(b"others")
    assert models.bundle_of("tiny", kept=tmp_path).bundle != first.bundle


def test_an_unknown_preset_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preset 'nothing' is unknown"):
        models.bundle_of("nothing", kept=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_trained_weights_come_first(
    exports: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = tmp_path / "model.safetensors"
    trained.write_bytes(b"weights")
    monkeypatch.setattr(models, "TRAINED", {"tiny": trained})
    found = models.bundle_of("tiny", kept=tmp_path)
    assert found.checkpoint == trained
    assert found.note == f"trained weights of {trained}"


def test_nothing_in_a_random_checkpoint_is_zero(small_preset: Preset, tmp_path: Path) -> None:
    model, _ = load_checkpoint(models.random_checkpoint("tiny", tmp_path / "new" / "a.safetensors"))
    assert isinstance(model, APSAM)
    assert all(parameter.any() for parameter in model.parameters())


def test_the_core_of_random_weights_is_as_large_as_an_object(
    small_preset: Preset, tmp_path: Path
) -> None:
    fresh = models.random_checkpoint("tiny", tmp_path / "fresh.safetensors")
    path = models.with_small_cores(fresh, tmp_path / "random.safetensors")
    core = load_checkpoint(path)[1].apg.core
    workload = synthetic(num_images=1)
    encoded = open_checkpoint(path).encode(workload.images[0])
    answers = encoded.segment([prompt for _, prompt in workload.clicks], strategy="direct")
    shares = [
        np.mean(one.low_res_logits > core) for one in answers if one.low_res_logits is not None
    ]
    assert 0.01 < np.mean(shares) < 0.1
