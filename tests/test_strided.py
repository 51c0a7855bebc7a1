"""Strided depthwise convolutions learn under autocast what plain ones do, and stay elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from heatpoint import zoo
from heatpoint.networks.lean import NormedConv, lean
from heatpoint.networks.strided import Spreading, _Spread, _Widened, quicken_strided
from heatpoint.training.optimize import freeze


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "size", "multiple"),
    [
        ((3, 3), (2, 2), (1, 1), (1, 1), (8, 8), 1),
        ((3, 3), (2, 2), (1, 1), (1, 1), (7, 10), 1),
        ((3, 3), (2, 2), (0, 0), (1, 1), (9, 8), 2),
        ((5, 5), (2, 2), (2, 2), (1, 1), (9, 12), 1),
        ((7, 7), (4, 4), (3, 3), (1, 1), (16, 19), 1),
        ((3, 5), (3, 2), (2, 1), (1, 1), (11, 9), 3),
        ((3, 3), (2, 2), (2, 2), (2, 2), (12, 9), 1),
        ((2, 2), (2, 2), (0, 0), (1, 1), (7, 8), 1),
    ],
)
def test_gradients_are_those_of_the_plain_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    multiple: int,
) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4 * multiple, 1, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4 * multiple, dtype=torch.float64, requires_grad=True)
    expected = functional.conv2d(features, weight, bias, stride, padding, dilation, groups=4)
    found = Spreading.apply(features, weight, bias, stride, padding, dilation)
    assert torch.equal(found, expected)
    given = torch.randn_like(expected)
    parts = (features, weight, bias)
    for mine, theirs in zip(
        torch.autograd.grad(found, parts, given),
        torch.autograd.grad(expected, parts, given),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def two(kind: type[nn.Conv2d] = nn.Conv2d, **options: str) -> tuple[nn.Module, nn.Module]:
    """Returns a strided depthwise convolution before a plain one, quickened, and a twin."""
    torch.manual_seed(0)
    strided = kind(32, 32, 3, stride=2, padding=1, groups=32, **options)  # type: ignore[arg-type]
    network = nn.Sequential(strided, nn.Conv2d(32, 32, 3, groups=32))
    twin = copy.deepcopy(network)
    quicken_strided(network)
    return network, twin


def learnt(network: nn.Module, features: Tensor, mixed: bool) -> list[Tensor]:
    """Returns the output and all gradients."""
    features = features.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, mixed):
        output = network(features)
    output.float().square().mean().backward()
    return [output, *[part.grad for part in (features, *network.parameters())]]  # type: ignore[misc]


def test_it_learns_in_half_precision_what_float32_does() -> None:
    network, twin = two()
    assert isinstance(network[0], _Spread)  # type: ignore[index]
    assert type(network[1]) is nn.Conv2d  # type: ignore[index]
    assert list(network.state_dict()) == list(twin.state_dict())
    features = torch.rand(2, 32, 9, 12)
    for mine, exact in zip(
        learnt(network, features, True), learnt(twin, features, False), strict=True
    ):
        assert (mine.float() - exact).abs().max() < 0.02 * exact.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        seen = network(features)
        assert seen.dtype == torch.bfloat16
        assert torch.equal(seen, twin(features))


def test_other_kinds_keep_float32() -> None:
    for network, twin in (two(Conv2dSame), two(padding_mode="reflect")):
        assert isinstance(network[0], _Widened)  # type: ignore[index]
        features = torch.rand(2, 32, 9, 12)
        with torch.autocast("cpu", torch.bfloat16):
            first = network[0](features.bfloat16())  # type: ignore[index]
            assert torch.is_autocast_enabled("cpu")
            with pytest.raises(RuntimeError, match="channels"):
                network[0](features[:, :31])  # type: ignore[index]
            assert torch.is_autocast_enabled("cpu")
        assert first.dtype == torch.float32
        assert torch.equal(first, twin[0](features.bfloat16().float()))  # type: ignore[index]
        for mine, exact in zip(
            learnt(network, features, True), learnt(twin, features, False), strict=True
        ):
            assert (mine.float() - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_it_stays_where_nothing_is_learnt_or_halved(kind: type[nn.Conv2d]) -> None:
    network, twin = two(kind)
    features = torch.rand(2, 32, 9, 12)
    for mine, exact in zip(
        learnt(network, features, False), learnt(twin, features, False), strict=True
    ):
        assert torch.equal(mine, exact)
    network.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        halved = network[0](features)  # type: ignore[index]
    assert halved.dtype == torch.bfloat16
    network.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(network[0](features), halved)  # type: ignore[index]


def test_a_lean_network_with_frozen_layers_is_quickened_too() -> None:
    torch.manual_seed(0)
    network = zoo.build("centernet_mobilenetv2", ["cat"]).network.train()
    frozen = freeze(network.backbone, 4)
    for norm in frozen:
        norm.eval()
    lean(network, frozen)
    twin = copy.deepcopy(network)
    quicken_strided(network)
    kinds = [type(module).__mro__ for module in network.modules() if isinstance(module, _Spread)]
    assert len(kinds) == 4
    assert sum(NormedConv in kind for kind in kinds) == 1
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    gradients = []
    for each in (network, twin):
        with torch.autocast("cpu", torch.bfloat16):
            maps = each(images)[-1]
        torch.stack([part.float().square().mean() for part in maps.values()]).sum().backward()
        gradients.append({name: p.grad for name, p in each.named_parameters()})
    mine, theirs = gradients
    for name, gradient in theirs.items():
        if gradient is None:
            assert mine[name] is None, name
        else:
            assert (mine[name] - gradient).norm() <= 0.1 * gradient.norm() + 1e-6, name
