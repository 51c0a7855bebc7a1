"""TTFNet's network (Liu et al. 2020): a neck with shortcuts, and towers in front of the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks import Maps, MapSpec
from heatpoint.networks.deformable import DeformConv
from heatpoint.networks.features import TimmBackbone
from heatpoint.networks.heads import Heads, hidden_convolution


def darknet53() -> TimmBackbone:
    """Returns Darknet-53 (Redmon and Farhadi 2018) with a slope of 0.1 below zero.

    timm's own has 0.01, so that its ImageNet weights belong to another function.
    """
    trunk = TimmBackbone("darknet53", strides=(4, 8, 16, 32))
    for module in trunk.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.1
    return trunk


class ShortcutNeck(nn.Module):
    """Deformable convolutions on the way up, to which each finer level adds plain ones.

    A step is a deformable convolution, batch norm, ReLU and bilinear upsampling whose corner cells
    stay in the corners. The n-th step's level comes in by n convolutions of 3x3 without norms,
    as released; the paper's figure 3 has the same.

    Args:
        in_channels: Channels of the backbone's feature maps, fine to coarse, strides doubling.
        channels: Channels behind each step, coarse to fine; published are (256, 128, 64).
    """

    def __init__(self, in_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.steps, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        before, finer = in_channels[-1], in_channels[-2::-1]
        for number, (width, own) in enumerate(zip(channels, finer, strict=True), start=1):
            deformed = DeformConv(before, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
            self.steps.append(nn.Sequential(*deformed))
            self.shortcuts.append(_shortcut(own, width, number))
            before = width

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, channels[-1], h, w) at the stride of the finest feature map."""
        fused = features[-1]
        for step, shortcut, finer in zip(self.steps, self.shortcuts, features[-2::-1], strict=True):
            upper = functional.interpolate(
                step(fused), scale_factor=2, mode="bilinear", align_corners=True
            )
            fused = upper + shortcut(finer)
        return fused


def _shortcut(in_channels: int, width: int, count: int) -> nn.Sequential:
    """Returns so many 3x3 convolutions with ReLUs between them."""
    layers: list[nn.Module] = []
    for number in range(count):
        plain = nn.Conv2d(width if number else in_channels, width, 3, padding=1)
        nn.init.kaiming_normal_(plain.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(cast(Tensor, plain.bias))
        layers += [nn.ReLU(inplace=True)] * (number > 0) + [plain]
    return nn.Sequential(*layers)


class TowerHeads(Heads):
    """Gives every map a tower of 3x3 convolutions of its own.

    As released, the convolutions start from the spread of their map's last one, and without bias.

    Args:
        in_channels: Channels of the feature map.
        specs: The maps to produce, of a known spread each.
        towers: Width and number of convolutions by the name of a map.
    """

    def __init__(
        self, in_channels: int, specs: Sequence[MapSpec], towers: Mapping[str, tuple[int, int]]
    ) -> None:
        super().__init__({name: width for name, (width, _) in towers.items()}, specs)
        self.hidden = nn.ModuleDict()
        for spec in specs:
            width, count = towers[spec.name]
            widths = [in_channels] + [width] * (count - 1)
            tower = nn.Sequential(*(hidden_convolution(own, width, False) for own in widths))
            for module in tower.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=cast(float, spec.std))
                    nn.init.zeros_(cast(Tensor, module.bias))
            self.hidden[spec.name] = tower

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, in_channels, h, w)."""
        return {name: last(self.hidden[name](features)) for name, last in self.last.items()}
