"""The learning rate over a run, and the steps of Muon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from apsam_train.config import TrainConfig
from apsam_train.optim import learning_rate, optimizer, orthogonal_factor


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


MUON = replace(TrainConfig(), optimizer="muon", learning_rate=0.01, weight_decay=0.0)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_the_factor_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    sizes = torch.logspace(0, -1.5, min(shape))
    factor = orthogonal_factor(3 * left @ torch.diag(sizes) @ right, iterations=5)
    turned = left.T @ factor @ right.T
    assert turned.diagonal().min() > 0.6
    assert turned.diagonal().max() < 1.25
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3


def test_nothing_to_go_by_is_no_step() -> None:
    assert not orthogonal_factor(torch.zeros(3, 4), iterations=5).any()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(32, 4))


def loss_of(model: nn.Module, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    output: Tensor = model(torch.randn(5, 3, 4, 4, generator=rng))
    return output.square().mean()


def steps(model: nn.Module, muon: torch.optim.Optimizer, seeds: range) -> list[Tensor]:
    for seed in seeds:
        muon.zero_grad()
        loss_of(model, seed).backward()
        muon.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_matrices_and_convolutions_move_by_the_rate_and_vectors_as_under_adamw() -> None:
    ours, theirs = net(), net()
    before = [parameter.detach().clone() for parameter in ours.parameters()]
    after = steps(ours, optimizer(ours, MUON), range(1))
    adamw = steps(theirs, optimizer(theirs, replace(MUON, optimizer="adamw")), range(1))
    for old, new, other in zip(before, after, adamw, strict=True):
        if new.ndim == 1:
            assert torch.equal(new, other)
        else:
            # As large as AdamW's usual step: 0.2 of the rate, of both shapes.
            assert (new - old).square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.2)
            assert not torch.allclose(new, other, atol=1e-4)


def test_it_goes_on_from_a_saved_state() -> None:
    whole = net()
    wanted = steps(whole, optimizer(whole, MUON), range(6))
    half = net()
    first = optimizer(half, MUON)
    steps(half, first, range(3))
    second = optimizer(half, MUON)
    second.load_state_dict(first.state_dict())
    for found, expected in zip(steps(half, second, range(3, 6)), wanted, strict=True):
        assert torch.equal(found, expected)


def test_a_parameter_without_a_gradient_stays() -> None:
    model = net()
    model[0].requires_grad_(False)
    still = model[0].weight.clone()
    steps(model, optimizer(model, MUON), range(2))
    assert torch.equal(model[0].weight, still)


def _in_a_group(rank: int, out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2
    )
    model = net()
    torch.save(steps(model, optimizer(model, MUON), range(3)), out / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_work_and_take_the_same_steps(tmp_path: Path) -> None:
    mp.spawn(_in_a_group, args=(tmp_path,), nprocs=2)
    alone = net()
    wanted = steps(alone, optimizer(alone, MUON), range(3))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for one, expected in zip(found, wanted, strict=True):
            assert torch.allclose(one, expected, atol=1e-6)
