"""The category loss by hand-computed cases."""

from __future__ import annotations

import math

import pytest
import torch

from apsam_train.categories import CLASSES, SUPERCLASSES, UNKNOWN, category_id, label_of
from apsam_train.category_loss import category_loss

GUN, BULLET, LAPTOP = (category_id(name) for name in ("Gun", "Bullet", "Laptop"))
SCISSORS_SUPERCLASS = len(CLASSES) + SUPERCLASSES.index("Scissors")


def logits_of(probabilities: dict[int, float]) -> torch.Tensor:
    """Logits [1, 31] of the probabilities given; what is left is shared by the other classes."""
    rest = (1 - sum(probabilities.values())) / (len(CLASSES) - len(probabilities))
    shares = [probabilities.get(number, rest) for number in range(len(CLASSES))]
    return torch.tensor([shares]).log() + 3.7


@pytest.mark.parametrize(
    ("label", "probability"),
    [
        (GUN, 0.5),
        (BULLET, 0.1),
        (0, 0.2),
        (label_of("Firearms"), 0.6),
        # Three of the 27 classes that share the last tenth.
        (label_of("Electronic Devices"), 0.1 + 2 * 0.1 / 27),
        (SCISSORS_SUPERCLASS, 3 * 0.1 / 27),
        (label_of("Others"), 7 * 0.1 / 27),
    ],
)
def test_the_loss_is_minus_the_log_of_what_the_label_allows(label: int, probability: float) -> None:
    logits = logits_of({0: 0.2, GUN: 0.5, BULLET: 0.1, LAPTOP: 0.1})
    loss = category_loss(logits, torch.tensor([label]))
    assert loss.item() == pytest.approx(-math.log(probability), rel=1e-5)


def test_unknown_labels_do_not_count_in_the_mean_and_get_no_gradient() -> None:
    logits = torch.cat([logits_of({GUN: 0.5}), logits_of({GUN: 0.1}), logits_of({GUN: 0.25})])
    logits.requires_grad_()
    loss = category_loss(logits, torch.tensor([GUN, UNKNOWN, GUN]))
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[1].any()
    assert gradient[0, GUN] == pytest.approx(-(1 - 0.5) / 2)


def test_a_batch_of_unknown_labels_costs_nothing_and_can_be_trained_on() -> None:
    logits = torch.randn(2, len(CLASSES), requires_grad=True)
    loss = category_loss(logits, torch.tensor([UNKNOWN, UNKNOWN]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_superclass_pulls_its_classes_up_in_proportion_and_pushes_the_others_down() -> None:
    logits = logits_of({GUN: 0.3, BULLET: 0.1}).requires_grad_()
    (gradient,) = torch.autograd.grad(
        category_loss(logits, torch.tensor([label_of("Firearms")])), logits
    )
    assert gradient[0, GUN] == pytest.approx(0.3 - 0.3 / 0.4)
    assert gradient[0, BULLET] == pytest.approx(0.1 - 0.1 / 0.4)
    others = [number for number in range(len(CLASSES)) if number not in (GUN, BULLET)]
    assert (gradient[0, others] > 0).all()


def test_certain_and_wrong_is_expensive_but_finite() -> None:
    logits = torch.zeros(1, len(CLASSES))
    logits[0, GUN] = 1e4
    logits.requires_grad_()
    loss = category_loss(logits, torch.tensor([label_of("Tools")]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4 - math.log(4))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
