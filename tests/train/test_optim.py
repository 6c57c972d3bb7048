"""The learning rate over a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsam_train.config import TrainConfig
from apsam_train.optim import learning_rate


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("cosine", [1.0, 0.5, 0.0954915, 0.0244717, 0.0]),
        ("trapezoid", [1.0, 1.0, 1.0, 0.5, 0.0]),
    ],
)
def test_the_rate_follows_its_schedule(schedule: str, rates: list[float]) -> None:
    config = replace(TrainConfig(), learning_rate=2.0, warmup_steps=10, schedule=schedule)
    found = [learning_rate(share, step=10, config=config) for share in (0, 0.5, 0.8, 0.9, 1.3)]
    assert found == pytest.approx([2 * rate for rate in rates], rel=1e-5)


def test_the_first_steps_warm_up() -> None:
    config = replace(TrainConfig(), learning_rate=2.0, warmup_steps=4, schedule="trapezoid")
    found = [learning_rate(0.0, step=step, config=config) for step in range(5)]
    assert found == [0.5, 1.0, 1.5, 2.0, 2.0]
