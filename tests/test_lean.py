"""A lean network trains as the plain one does: the same maps, gradients, statistics and names."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.data.skeleton import SKELETONS
from heatpoint.networks import Backbone, Maps, MapSpec, Network
from heatpoint.networks.fast import fast
from heatpoint.networks.features import OneLevel
from heatpoint.networks.heads import BareHeads
from heatpoint.networks.lean import ClippingReLU6, NormedConv, _Widening, lean
from heatpoint.training.optimize import freeze

CASES = [
    *[("centernet_mobilenetv2", stride) for stride in (0, 4, 8, 32)],
    *[("centernet_resnet50", stride) for stride in (0, 4)],
    *[("centernet_dla34", 4), ("cornernet_tiny", 4), ("pose_mobilenetv2", 4)],
    *[("centernet_timm:mobilenetv4_conv_small", 4), ("centernet_timm:efficientnet_lite0", 8)],
]


def both(name: str, stride: int) -> tuple[Network, Network]:
    """Returns a network in training, the first layers frozen, and a lean copy of it, in float64."""
    torch.manual_seed(0)
    names = ["person"] if zoo.learns_joints(name) else ["cat", "dog"]
    plain = zoo.build(name, names, skeleton=SKELETONS["mpii16"]).network.train()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
    frozen = rest(plain, stride)
    other = copy.deepcopy(plain)
    names_of = {module: name for name, module in plain.named_modules()}
    lean(other, [other.get_submodule(names_of[norm]) for norm in frozen])
    return plain.double(), other.double()


def rest(network: Network, stride: int) -> list[nn.Module]:
    frozen = freeze(network.backbone, stride) if stride else []
    for norm in frozen:
        norm.eval()
    return frozen


def normed(network: nn.Module) -> int:
    return sum(isinstance(module, NormedConv) for module in network.modules())


def photographs(network: Network, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, network.multiple, 2 * network.multiple)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def assert_same(found: Maps, expected: Maps, tolerance: float) -> None:
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= tolerance * value.abs().max(), name


@pytest.mark.parametrize(("name", "stride"), CASES)
def test_it_learns_the_same(name: str, stride: int) -> None:
    plain, other = both(name, stride)
    assert normed(other) > 0 == normed(plain)
    assert list(plain.state_dict()) == list(other.state_dict())
    for seed in range(2):
        images = photographs(plain, seed)
        maps = [network(images)[-1] for network in (plain, other)]
        assert_same(maps[1], maps[0], 1e-9)
    for values in maps:
        torch.stack([value.square().mean() for value in values.values()]).sum().backward()
    largest = max(p.grad.abs().max() for p in plain.parameters() if p.grad is not None)
    for (key, one), two in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), key
        if one.grad is not None:
            assert two.grad is not None
            assert (two.grad - one.grad).abs().max() <= 1e-9 * largest, key
    for (key, was), now in zip(plain.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(now, was, rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize("name", ["centernet_mobilenetv2", "centernet_resnet50"])
def test_in_evaluation_it_computes_as_before_and_folds(name: str) -> None:
    plain, other = (network.float().eval() for network in both(name, 4))
    images = photographs(plain)
    with torch.no_grad():
        maps = plain(images)[-1]
        assert_same(other(images)[-1], maps, 1e-6)
        copied = fast(other, "fp32")
        assert_same(copied(images)[-1], maps, 1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())


def test_a_copy_stands_for_itself() -> None:
    _, other = both("centernet_mobilenetv2", 4)
    copied = copy.deepcopy(other)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert all(bool(value.any()) for value in copied(photographs(other))[-1].values())
    own = set(copied.modules())
    assert all(m.behind[0] in own for m in copied.modules() if isinstance(m, NormedConv))


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_of_a_widening_convolution_are_exact(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, 3, 4, 5), (12, 3, 1, 1), (12,), (12,))
    given = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    # Far from zero, where a variance is easily lost in the difference of two large numbers.
    inputs = [given[0] + 7, *given[1:]]

    def merged(*tensors: Tensor) -> Tensor:
        return _Widening.apply(*tensors, 1e-5)[0]

    assert torch.autograd.gradcheck(merged, [each.requires_grad_() for each in inputs])


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_a_widening_convolution_is_exact_enough_in_float32(offset: float) -> None:
    torch.manual_seed(0)
    features = 2 * torch.randn(4, 24, 32, 32) + offset
    convolution, norm = nn.Conv2d(24, 144, 1, bias=False), nn.BatchNorm2d(144)
    args = (features, convolution.weight, norm.weight, norm.bias, norm.eps)
    exact = norm.double()(convolution.double()(features.double()))
    plain = norm.float()(convolution.float()(features))
    worst = (plain - exact).abs().max()
    assert (_Widening.apply(*args)[0] - exact).abs().max() <= 3 * worst + 1e-6


def test_bfloat16_errs_as_the_plain_network_does() -> None:
    plain, other = (network.float() for network in both("centernet_mobilenetv2", 4))
    images = photographs(plain)
    exact = plain(images)[-1]
    with torch.autocast("cpu", torch.bfloat16):
        halved, merged = (network(images)[-1] for network in (plain, other))
    for name, value in exact.items():
        errors = [(maps[name].float() - value).abs().mean() for maps in (halved, merged)]
        assert errors[1] <= 1.5 * errors[0], name
    loss = torch.stack([value.float().square().mean() for value in merged.values()]).sum()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in other.parameters() if p.grad is not None)


def test_norms_that_are_shared_between_processes_stay() -> None:
    network = zoo.build("centernet_mobilenetv2", ["cat"]).network.train()
    network = convert_sync_batchnorm(network)
    plain = copy.deepcopy(network)
    lean(network)
    images = photographs(network)
    assert normed(network) == 0
    assert_same(network(images)[-1], plain(images)[-1], 0.0)


@pytest.mark.parametrize("how", ["read twice", "called twice"])
def test_norms_stay_where_convolutions_are_read_elsewhere_too(how: str) -> None:
    torch.manual_seed(0)
    network = Network(Forked(how), OneLevel(), BareHeads(16, [MapSpec("heatmap", 1)]), stride=1)
    plain = copy.deepcopy(network)
    lean(network)
    images = photographs(network)
    assert normed(network) == 1
    assert not isinstance(cast(Forked, network.backbone).wide, NormedConv)
    assert_same(network(images)[-1], plain(images)[-1], 1e-6)


class Forked(Backbone):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.channels, self.strides, self.multiple, self.how = (16,), (1,), 8, how
        self.wide, self.norm = nn.Conv2d(3, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.other = nn.Sequential(nn.Conv2d(3, 16, 1, bias=False), nn.BatchNorm2d(16))

    def forward(self, images: Tensor) -> list[Tensor]:
        made = self.wide(images)
        again = made if self.how == "read twice" else self.wide(images.flip(3))
        return [self.norm(made) + again + self.other(images)]


def test_clipping_keeps_no_second_copy() -> None:
    edges = torch.tensor([-1.0, 0.0, 1e-7, 3.0, 5.9999995, 6.0, 7.0, float("nan")])
    gradients = []
    for activation in (nn.ReLU6(inplace=True), ClippingReLU6()):
        start = edges.clone().requires_grad_()
        saved: list[Tensor] = []

        def keep(tensor: Tensor, saved: list[Tensor] = saved) -> Tensor:
            saved.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            clipped = activation(start * 1)
        clipped.sum().backward()
        assert start.grad is not None
        gradients.append(start.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert {each.data_ptr() for each in saved} <= {clipped.data_ptr(), start.data_ptr()}
    assert torch.equal(clipped.detach()[:-1], edges[:-1].clamp(0, 6))
    assert clipped[-1].isnan()
