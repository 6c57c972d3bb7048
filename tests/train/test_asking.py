"""What training asks, step by step and cell by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from apsam_serve.contract.prompts import PointLabel
from apsam_train.asking import Asked, asked_at, corrected_prompts
from apsam_train.config import TrainConfig
from apsam_train.data.training import TrainingItem

SIDE = 32
CELLS = SIDE // 4


def item_of(*objects: np.ndarray, num_beside: int = 0, draw: int = 0) -> TrainingItem:
    """One image with objects bool [8, 8] over its cells, clicked at (1, 2), (3, 4), ..."""
    num_clicks = len(objects) + num_beside
    return TrainingItem(
        image=torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8),
        target=torch.from_numpy(np.stack(objects)).float()[None],
        boxes=torch.zeros(1, len(objects), 4),
        clicks=torch.arange(1.0, 2 * num_clicks + 1).view(1, num_clicks, 2),
        label=torch.zeros(1, num_clicks, dtype=torch.int64),
        valid_cells=torch.tensor([[CELLS, CELLS]]),
        sample_index=torch.tensor([0]),
        draw=torch.tensor([draw]),
    )


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((CELLS, CELLS), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def logits(*masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(masks)).float() * 2 - 1


@pytest.mark.parametrize(
    ("truth", "found", "wrong", "label"),
    [
        (square(0, 0, 4), square(0, 0, 3), square(0, 0, 4) & ~square(0, 0, 3), "POSITIVE"),
        (square(2, 2, 2), square(2, 2, 4), square(2, 2, 4) & ~square(2, 2, 2), "NEGATIVE"),
        (square(1, 1, 3), square(1, 1, 0), square(1, 1, 3), "POSITIVE"),
    ],
)
def test_a_correction_lies_where_the_mask_is_wrong(
    truth: np.ndarray, found: np.ndarray, wrong: np.ndarray, label: str
) -> None:
    places = set()
    for draw in range(40):
        prompts = corrected_prompts(item_of(truth, draw=draw), logits(found))
        assert prompts.coords[0, 0].tolist() == [1, 2]
        assert prompts.labels[0].tolist() == [
            PointLabel.POSITIVE,
            PointLabel[label],
            PointLabel.PADDING,
        ]
        x, y = prompts.coords[0, 1].tolist()
        assert wrong[int(y // 4), int(x // 4)]
        places.add((x, y))
    assert len(places) > wrong.sum() / 2


def test_where_nothing_is_wrong_the_click_stands_twice() -> None:
    prompts = corrected_prompts(item_of(square(0, 0, 2)), logits(square(0, 0, 2)))
    assert prompts.coords[0, :2].tolist() == [[1, 2], [1, 2]]
    assert prompts.labels[0, 1] == PointLabel.POSITIVE


def test_beside_all_objects_everything_found_is_too_much() -> None:
    item = item_of(square(0, 0, 2), num_beside=1)
    prompts = corrected_prompts(item, logits(square(0, 0, 2), square(5, 5, 2)))
    x, y = prompts.coords[1, 1].tolist()
    assert square(5, 5, 2)[int(y // 4), int(x // 4)]
    assert prompts.labels[1, 1] == PointLabel.NEGATIVE


def test_steps_are_shared_out_as_configured() -> None:
    config = replace(TrainConfig(), box_share=0.2, refine_share=0.3, apg_start=0.5)
    asked = Counter(asked_at(step, share=0.6, config=config) for step in range(2000))
    shares = {kind: asked[kind] / 2000 for kind in Asked}
    expected = {Asked.BOX: 0.2, Asked.REFINE: 0.3, Asked.CLICK: 0.25, Asked.APG: 0.25}
    assert shares == pytest.approx(expected, abs=0.03)
    early = {asked_at(step, share=0.4, config=config) for step in range(200)}
    assert early == {Asked.BOX, Asked.REFINE, Asked.CLICK}
