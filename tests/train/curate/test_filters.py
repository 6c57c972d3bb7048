from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apsam_train.curate.filters import stage_files
from apsam_train.curate.filters.aspect import Aspect
from apsam_train.curate.filters.duplicates import Duplicates
from apsam_train.curate.filters.noise import Noise
from apsam_train.curate.filters.resolution import Resolution
from apsam_train.curate.filters.split import Split
from apsam_train.errors import ConfigError

from .conftest import record


def test_stages_run_in_the_order_of_the_paper() -> None:
    assert list(stage_files()) == ["resolution", "aspect", "noise", "duplicates", "split"]


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [(200, 200, True), (199, 900, False), (900, 199, False), (200, 1000, True)],
)
def test_width_and_height_below_200_pixels_are_dropped(width: int, height: int, kept: bool) -> None:
    (judged,), _ = Resolution().apply([record("a", width=width, height=height)])
    assert (judged.dropped == "") is kept


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [(1000, 200, True), (1001, 200, False), (200, 1000, True), (199, 1000, False)],
)
def test_width_by_height_outside_a_fifth_to_five_is_dropped(
    width: int, height: int, kept: bool
) -> None:
    (judged,), _ = Aspect().apply([record("a", width=width, height=height)])
    assert (judged.dropped == "") is kept


@pytest.mark.parametrize(
    ("laplacian", "drop", "kept"),
    [(50.0, 1.0, True), (50.1, 1.0, False), (50.1, 0.0, True), (0.0, 1.0, True)],
)
def test_only_above_the_threshold_is_noise(laplacian: float, drop: float, kept: bool) -> None:
    (judged,), _ = Noise(threshold=50.0, drop=drop).apply([record("a", laplacian=laplacian)])
    assert (judged.dropped == "") is kept


def test_noise_is_dropped_nine_times_in_ten_whatever_the_order_and_the_rest() -> None:
    noisy = [record(f"{number}.png", laplacian=99.0) for number in range(3000)]
    stage = Noise(threshold=50.0)
    dropped = {item.id for item in stage.apply(noisy)[0] if item.dropped}
    assert 0.88 < len(dropped) / len(noisy) < 0.92
    backwards = stage.apply(noisy[2000:999:-1])[0]
    assert {item.id for item in backwards if item.dropped} == dropped & {i.id for i in backwards}
    other_seed = Noise(threshold=50.0, seed=1).apply(noisy)[0]
    assert {item.id for item in other_seed if item.dropped} != dropped


def test_without_a_threshold_a_percentile_is_taken_and_told() -> None:
    measured = [record(str(number), laplacian=float(number)) for number in range(101)]
    judged, notes = Noise(percentile=90.0, drop=1.0).apply(measured)
    assert notes["threshold"] == 90.0
    assert notes["above"] == 10
    assert "percentile 90 of the 101 images" in notes["rule"]
    assert notes["percentiles"]["bags"]["50"] == 50.0
    assert [item.dropped for item in judged] == [""] * 91 + ["noise"] * 10


@pytest.mark.parametrize(
    ("stage", "values", "said"),
    [
        (Resolution, {"min_side": 0}, "--min-side is 0: expected at least 1"),
        (Aspect, {"least": 6.0}, "--min-aspect is 6.0"),
        (Noise, {"drop": 1.5}, "--noise-drop is 1.5: expected a probability from 0 to 1"),
        (Noise, {"percentile": 101.0}, "--noise-percentile is 101.0: expected 0 to 100"),
        (Noise, {"threshold": float("nan")}, "--noise-threshold is nan: expected 0 or more"),
        (Duplicates, {"near_distance": 17}, "--near-distance is 17: expected 0 to 16"),
        (Split, {"shares": (1.0, -1.0, 1.0)}, "expected none below 0, like 8:1:1"),
        (Split, {"val_share": 1.0}, "--val-share is 1.0: expected 0 or more, below 1"),
    ],
)
def test_values_that_cannot_work_are_refused(stage: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        replace(stage(), **values)
