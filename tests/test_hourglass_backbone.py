"""The detection hourglass, its heads, and what sizes it takes."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.corner_pool import CornerBranch, corner_pool
from heatpoint.networks.fast import fast
from heatpoint.networks.features import EveryLevel
from heatpoint.networks.heads import CornerHeads, MapHeads, StackHeads
from heatpoint.networks.hourglasses import DetectionHourglass


def narrow(stacks: int = 2, trim: int = 0) -> DetectionHourglass:
    return DetectionHourglass(
        stacks, stem=8, widths=(8, 8, 12, 12, 12, 16), blocks=(2, 1, 1, 1, 1, 1), trim=trim
    )


def corner_network(stacks: int = 2, trim: int = 1, classes: int = 3) -> Network:
    codec = CornerCodec(classes, trim=trim)
    heads = [CornerHeads(8, codec.maps, pooled=4, width=8) for _ in range(stacks)]
    return Network(narrow(stacks, trim), EveryLevel(), StackHeads(heads), stride=4)


@pytest.mark.parametrize(("trim", "height", "width"), [(0, 128, 256), (1, 127, 255)])
def test_every_stack_answers_at_stride_four(trim: int, height: int, width: int) -> None:
    network = corner_network(trim=trim).eval()
    with torch.no_grad():
        stacks = network(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    assert len(stacks) == 2
    for maps in stacks:
        assert {name: tuple(value.shape) for name, value in maps.items()} == {
            spec.name: (1, spec.channels, 32, 64) for spec in CornerCodec(3).maps
        }
    assert not torch.equal(stacks[0]["top_left"], stacks[1]["top_left"])


def test_illegal_sizes_name_the_next_legal_one() -> None:
    network = corner_network(trim=1)
    with pytest.raises(HeatpointError, match=r"multiples of 128 less 1: .* is 127x255"):
        network(torch.zeros(1, 3, 127, 128))
    with pytest.raises(HeatpointError, match=r"multiples of 128: .* is 128x128"):
        corner_network(trim=0)(torch.zeros(1, 3, 127, 128))


def test_all_parameters_learn() -> None:
    network = corner_network().train()
    stacks = network(torch.rand(2, 3, 127, 255) * 255)
    sum(value.square().mean() for maps in stacks for value in maps.values()).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_the_first_stack_learns_from_the_last_stack_too() -> None:
    network = corner_network().train()
    last = network(torch.rand(2, 3, 127, 127) * 255)[-1]
    sum(value.square().mean() for value in last.values()).backward()
    backbone = network.backbone
    assert isinstance(backbone, DetectionHourglass)
    assert all(p.grad is not None for p in backbone.parameters())
    assert isinstance(network.heads, StackHeads)
    assert all(p.grad is None for p in network.heads.stacks[0].parameters())


def test_recomputing_changes_neither_gradients_nor_statistics() -> None:
    torch.manual_seed(0)
    plain = corner_network().double().train()
    saving = copy.deepcopy(plain)
    assert isinstance(saving.backbone, DetectionHourglass)
    saving.backbone.recompute()
    images = torch.rand(2, 3, 127, 127, dtype=torch.float64) * 255
    kept = []
    for network in (plain, saving):
        stored: list[int] = []

        def keep(tensor: torch.Tensor, stored: list[int] = stored) -> torch.Tensor:
            stored.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            stacks = network(images)
        kept.append(sum(stored))
        sum(value.square().mean() for maps in stacks for value in maps.values()).backward()
    assert kept[1] < 0.8 * kept[0]
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(saving.get_buffer(name), buffer, rtol=1e-12, atol=0, msg=name)


@pytest.mark.parametrize("synchronised", [False, True])
def test_recomputing_counts_statistics_once(synchronised: bool) -> None:
    torch.manual_seed(0)
    plain = corner_network()
    if synchronised:
        plain = convert_sync_batchnorm(plain)
    norms = [m for m in plain.modules() if isinstance(m, _BatchNorm)]
    saving = copy.deepcopy(plain)
    saving.backbone.recompute()
    images = torch.rand(2, 3, 127, 127) * 255
    for network in (plain, saving):
        network.train()
        frozen = network.backbone.hourglasses[0].before[0].norm1.eval()
        stacks = network(images)
        sum(value.square().mean() for maps in stacks for value in maps.values()).backward()
        assert frozen.num_batches_tracked == 0
    assert {int(norm.num_batches_tracked) for norm in norms} == {0, 1}
    for name, buffer in plain.named_buffers():
        assert torch.equal(saving.get_buffer(name), buffer), name


def test_fast_copies_keep_the_last_heads_only() -> None:
    torch.manual_seed(0)
    network = corner_network().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
    images = torch.randint(0, 256, (1, 3, 127, 255), dtype=torch.uint8)
    copied = fast(network, "fp32")
    assert isinstance(copied.heads, StackHeads)
    assert len(copied.heads.stacks) == 1
    assert len(network.heads.stacks) == 2  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        (found,), expected = copied(images), network(images)[-1]
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4)
    assert not [m for m in copied.modules() if isinstance(m, nn.BatchNorm2d)]


def test_heads_of_all_stacks_are_resized() -> None:
    codec = CenterCodec(2)
    heads = StackHeads([MapHeads(8, codec.maps, width=8) for _ in range(2)])
    before = [stack.last["heatmap"].weight.clone() for stack in heads.stacks]  # type: ignore
    heads.resize(CenterCodec(3).maps[0], [1, None, 0])
    assert heads.channels == {"heatmap": 3, "size": 2, "offset": 2}
    for stack, old in zip(heads.stacks, before, strict=True):
        weight = stack.last["heatmap"].weight  # type: ignore[union-attr, index]
        assert torch.equal(weight[[2, 0]], old)


def test_a_corner_branch_is_what_the_paper_draws() -> None:
    torch.manual_seed(0)
    branch = CornerBranch(6, 4, ("top", "left")).eval()
    x = torch.randn(1, 6, 5, 7)
    with torch.no_grad():
        pooled = corner_pool(branch.first(x), "top") + corner_pool(branch.second(x), "left")
        expected = branch.last(torch.relu(branch.after(pooled) + branch.shortcut(x)))
        assert torch.equal(branch(x), expected)


def test_what_one_corner_sees_stays_off_the_other() -> None:
    """A change in the last cell reaches top-left cells straight above, no bottom-right ones."""
    torch.manual_seed(0)
    codec = CornerCodec(1)
    heads = CornerHeads(4, codec.maps, pooled=4, width=None).eval()
    x = torch.randn(1, 4, 24, 24)
    changed = x.clone()
    changed[:, :, -1, -1] += 30
    with torch.no_grad():
        one, other = heads(x), heads(changed)
    moved = {name: (one[name] != other[name]).any(1)[0] for name in one}
    assert moved["top_left"][:10, -3:].any()  # straight above
    assert not moved["top_left"][:10, :10].any()
    assert not moved["bottom_right"][:18, :18].any()
