"""Stacked hourglasses: shapes, feedback, supervision of every stack, and the fast copy."""

from __future__ import annotations

import torch
from torch import nn

from heatpoint.codecs import MapSpec
from heatpoint.networks import Network
from heatpoint.networks.fast import fast
from heatpoint.networks.features import OneLevel
from heatpoint.networks.hourglasses import Hourglass, HourglassStacks, HourglassStem, pose_hourglass


def network(stacks: int = 2, order: int = 2, blocks: int = 1, joints: int = 3) -> Network:
    """Returns a narrow network whose batch norms look trained."""
    torch.manual_seed(0)
    stem = HourglassStem("paper", 4 << order)
    made = Network(
        stem, OneLevel(), HourglassStacks(256, MapSpec("joints", joints), stacks, order, blocks), 4
    )
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return made


def images(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)


def test_every_stack_answers_in_both_modes() -> None:
    for stacks, order, blocks in ((1, 1, 1), (3, 2, 2)):
        made = network(stacks, order, blocks)
        side = 4 << order
        for mode in (True, False):
            maps = made.train(mode)(images(side, 2 * side))
            assert [tuple(each["joints"].shape) for each in maps] == [
                (1, 3, side // 4, side // 2)
            ] * stacks


def test_an_hourglass_goes_down_to_one_cell() -> None:
    made = pose_hourglass(3, 16, 1).eval()
    levels = [module for module in made.modules() if isinstance(module, Hourglass)]
    assert len(levels) == 3
    features = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        found = made(features)
        assert found.shape == features.shape
        # One cell of the lowest level sees and reaches all of them.
        other = made(features + torch.eye(8)[:1, :, None] * 0.5)
    assert bool(((found - other).abs().amax(1) > 0).all())


def test_each_stack_learns_and_feeds_the_next() -> None:
    made = network(stacks=2).train()
    first, second = made(images(32, 32))
    heads = made.heads
    assert isinstance(heads, HourglassStacks)
    second["joints"].square().mean().backward(retain_graph=True)
    # The second stack's loss reaches the first one's maps through the feedback alone.
    weight = heads.get_parameter("last.0.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    first["joints"].square().mean().backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None]
    assert silent == []


def test_both_stems_differ_in_the_second_residual_only() -> None:
    shapes = [
        {name: tuple(t.shape) for name, t in HourglassStem(kind, 64).state_dict().items()}
        for kind in ("bearpaw", "paper")
    ]
    differ = {name.split(".")[0] for name in shapes[0] if shapes[0][name] != shapes[1].get(name)}
    assert differ == {"residual2", "residual3"}


def test_the_fast_copy_is_equal_and_folds_what_convolutions_feed() -> None:
    made = network(stacks=2).eval()
    copied = fast(made, "fp32")
    with torch.no_grad():
        for mine, theirs in zip(made(images(32, 64)), copied(images(32, 64)), strict=True):
            difference = (mine["joints"] - theirs["joints"]).abs().max()
            assert difference <= 1e-4 * mine["joints"].abs().max()
        half = fast(made, "bf16")(images(32, 64))[-1]["joints"].float()
        exact = made(images(32, 64))[-1]["joints"]
    assert (half - exact).abs().max() <= 0.1 * exact.abs().max()
    # Only the norms in front of each residual stay: additions and poolings feed them.
    assert {
        name.split(".")[-1] for name, m in copied.named_modules() if isinstance(m, nn.BatchNorm2d)
    } == {"norm1"}


def test_channels_follow_their_joints() -> None:
    made = network(stacks=2, joints=3).eval()
    heads = made.heads
    assert isinstance(heads, HourglassStacks)
    with torch.no_grad():
        heads.get_parameter("from_maps.0.weight")[:, 1] = 0  # forget joint 1, which goes
        before = made(images(32, 32))
        heads.resize(MapSpec("joints", 3), [2, 0, None])
        heads.get_parameter("from_maps.0.weight")[:, 2] = 0  # and is not seen afresh
        after = made(images(32, 32))
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new["joints"][:, :2], old["joints"][:, [2, 0]])
    heads.resize(MapSpec("joints", 5), [0, 1, None, None, None])
    assert heads.channels == {"joints": 5}
    assert tuple(made(images(32, 32))[1]["joints"].shape) == (1, 5, 8, 8)
