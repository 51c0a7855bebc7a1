"""A very small residual network of plain 3x3 convolutions, quick to train on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks.network import Backbone


class PlainResNet(Backbone):
    """A stride-2 stem and one residual block per stage; feature maps from stride 4 on.

    Args:
        stem: Channels of the stem, at stride 2.
        channels: Channels of the stages at strides 4, 8, 16 and so on.
    """

    def __init__(self, stem: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        )
        widths = [stem, *channels]
        self.stages = nn.ModuleList(Block(before, after) for before, after in pairwise(widths))
        self.channels = tuple(channels)
        self.strides = tuple(4 << level for level in range(len(channels)))
        self.multiple = self.strides[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, channels[i], H / strides[i], W / strides[i]) per stage."""
        features = self.stem(images)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs


class Block(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, around a 1x1 shortcut of averaged cells."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / 2, w / 2) for (B, in_channels, h, w)."""
        return functional.relu(self.residual(features) + self.shortcut(features))
