"""Muon: equal steps in every direction of a matrix, AdamW for all that is none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.training.muon import LENGTH, MOMENTUM, orthogonal
from heatpoint.training.optimize import build_optimizer, freeze

SPREAD = (0.68, 1.21)
"""Where the published iteration leaves singular values of 0.003 and more."""


def matrix(rows: int, columns: int, values: Tensor) -> Tensor:
    left, _ = torch.linalg.qr(torch.randn(rows, len(values)))
    right, _ = torch.linalg.qr(torch.randn(columns, len(values)))
    return (left * values) @ right.T


@pytest.mark.parametrize(("rows", "columns"), [(24, 200), (200, 24), (16, 16), (1, 5)])
def test_directions_stay_and_become_equally_long(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    given = matrix(rows, columns, torch.logspace(0, -2, min(rows, columns)) * 7)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    turned = orthogonal([given, 1e-3 * given, -given])
    for sign, each in zip((1, 1, -1), turned, strict=True):
        along = left.T @ each @ right.T * sign
        lengths = along.diagonal()
        assert SPREAD[0] < float(lengths.min()) <= float(lengths.max()) < SPREAD[1]
        # No direction leaks into another one.
        assert float((along - lengths.diag()).abs().max()) < 1e-3


def test_nothing_comes_of_nothing() -> None:
    assert not any(each.any() for each in orthogonal([torch.zeros(3, 4), torch.zeros(4, 3)]))
    (alone,) = orthogonal([matrix(8, 9, torch.tensor([3.0]))])  # of rank 1
    assert torch.linalg.matrix_rank(alone, rtol=1e-3) == 1


def test_matrices_that_are_turned_in_one_go_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shapes = [(24, 200), (7, 7), (200, 24), (33, 64), (1, 9), (24, 30)]
    given = [torch.randn(shape) for shape in shapes]
    each_alone = [orthogonal([one])[0] for one in given]
    for one, together in zip(each_alone, orthogonal(given), strict=True):
        torch.testing.assert_close(together, one)
    monkeypatch.setattr("heatpoint.training.muon._side", lambda start: 64)  # as on a GPU
    for one, padded in zip(each_alone, orthogonal(given), strict=True):
        torch.testing.assert_close(padded, one)


def test_steps_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(8, 12, 3), nn.Conv2d(12, 6, 1))
    weight = layer[0].weight
    optimizer = build_optimizer(layer, "muon", 0.1, 0.2)
    average, expected = torch.zeros(12, 72), weight.detach().flatten(1).clone()
    for _ in range(3):
        gradient = torch.randn(12, 72)
        average = MOMENTUM * average + (1 - MOMENTUM) * gradient
        ahead = (1 - MOMENTUM) * gradient + MOMENTUM * average  # Nesterov's
        expected = expected * (1 - 0.1 * 0.2)
        expected = expected - 0.1 * LENGTH * 72**0.5 * orthogonal([ahead])[0]
        weight.grad = gradient.view_as(weight)
        optimizer.step()
        torch.testing.assert_close(weight.detach().flatten(1), expected)
        assert torch.equal(weight.grad, gradient.view_as(weight))  # for whoever looks at it


@pytest.mark.parametrize("shape", [(48, 32, 3, 3), (96, 16, 1, 1), (16, 96, 1, 1), (1, 48, 1, 1)])
def test_a_step_is_as_long_whatever_the_shape(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(shape[1], shape[0], shape[2])
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(shape) * 1e-4
    build_optimizer(layer, "muon", 0.01, 0.0).step()
    length = float((layer.weight - before).detach().square().mean().sqrt())
    assert SPREAD[0] < length / (0.01 * LENGTH) < SPREAD[1]


def test_all_else_goes_the_way_of_adamw() -> None:
    torch.manual_seed(0)
    ours = zoo.build("centernet_mobilenetv2", ["a", "b"]).network
    theirs = copy.deepcopy(ours)
    muon, adamw = build_optimizer(ours, "muon", 1e-2), build_optimizer(theirs, "adamw", 1e-2)
    for _ in range(2):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        muon.step()
        adamw.step()
    matrices = {
        module.weight
        for module in ours.modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1
    }
    assert len(matrices) > 30
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other) != (one in matrices), name


def test_what_is_frozen_or_unused_stays() -> None:
    network = zoo.build("centernet_mobilenetv2", ["a"]).network
    freeze(network.backbone, 4)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    optimizer = build_optimizer(network, "muon", 0.1)
    assert not {id(each) for each in network.parameters() if not each.requires_grad} & {
        id(each) for group in optimizer.param_groups for each in group["params"]
    }
    optimizer.step()  # no gradient anywhere
    assert all(torch.equal(before[name], each) for name, each in network.named_parameters())


def test_a_run_goes_on_as_if_it_had_not_stopped() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 2, 1))
    gradients = [[torch.randn_like(each) for each in first.parameters()] for _ in range(4)]

    def take(layer: nn.Module, optimizer: torch.optim.Optimizer, steps: slice) -> None:
        for row in gradients[steps]:
            for each, gradient in zip(layer.parameters(), row, strict=True):
                each.grad = gradient.clone()
            optimizer.step()

    whole = build_optimizer(first, "muon", 0.01)
    take(first, whole, slice(0, 2))
    second = copy.deepcopy(first)
    resumed = build_optimizer(second, "muon", 0.01)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    take(first, whole, slice(2, 4))
    take(second, resumed, slice(2, 4))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
