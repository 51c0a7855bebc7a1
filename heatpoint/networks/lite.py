"""What CornerNet-Lite (Law et al. 2019) adds: fire modules of Squeeze, attention of Saccade.

Section 4 takes SqueezeNet's fire module, with MobileNet's depthwise convolution for its 3x3 one.
Saccade has heads of corners at the finest level, and of attention at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks import Maps, MapSpec, convolution
from heatpoint.networks.corner_pool import BRANCHES
from heatpoint.networks.features import TopDownNeck
from heatpoint.networks.heads import CornerHeads, hidden_convolution, last_convolution
from heatpoint.networks.hourglasses import Hourglass

SQUEEZE_WIDTHS = (256, 256, 384, 384, 512)
"""Channels at each level of CornerNet-Squeeze, the first at stride 8, the last at 128."""

SQUEEZE_BLOCKS = (2, 2, 2, 2, 4)
"""Fire modules at each of its levels."""


class Fire(nn.Module):
    """A 1x1 convolution to half the width, then 1x1 and depthwise 3x3 ones side by side.

    As released: a batch norm but no ReLU behind the first, one batch norm behind both others, the
    input added where neither sides nor channels change, and a ReLU at the end.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, an even number.
        stride: Of the two convolutions side by side.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1, self.norm1 = convolution(in_channels, half, 1, relu=False)
        self.pointwise = nn.Conv2d(half, half, 1, stride, bias=False)
        self.depthwise = nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / stride, w / stride)."""
        narrow = self.norm1(self.conv1(features))
        wide = self.norm2(torch.cat((self.pointwise(narrow), self.depthwise(narrow)), 1))
        return functional.relu(cast(Tensor, wide + features if self.adds else wide))


def fire_hourglass(widths: Sequence[int], blocks: Sequence[int]) -> Hourglass:
    """Returns an hourglass of fire modules, with transposed convolutions on the way up."""
    return Hourglass(widths, blocks, Fire, partial(Fire, stride=2), _transposed)


def _transposed(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 4, 2, 1)


class EveryStack(nn.Module):
    """Hands on the feature maps of a backbone in groups, one for each stack.

    Args:
        each: Feature maps of a stack.
    """

    def __init__(self, each: int) -> None:
        super().__init__()
        self.each = each

    def forward(self, features: Sequence[Tensor]) -> list[list[Tensor]]:
        """Returns the feature maps of each stack."""
        starts = range(0, len(features), self.each)
        return [list(features[start : start + self.each]) for start in starts]


class AttentionNeck(nn.Module):
    """A top-down neck that hands on strides 16, 8 and 4 for attention, and 4 for corners.

    Args:
        in_channels: Channels of the backbone's feature maps, of strides 4, 8, 16 and further.
        widths: Width of the neck at each of these levels.
    """

    def __init__(self, in_channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = TopDownNeck(in_channels, widths)
        self.channels = widths[2], widths[1], widths[0], widths[0]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns (B, channels[i], h, w), the coarsest first."""
        *_, large, medium, small = self.levels.levels(features)
        return [large, medium, small, small]


class AttentionHeads(nn.Module):
    """The heads of corners on the last feature map, and of attention on those in front of it.

    Args:
        channels: Channels of the feature maps.
        specs: The maps to produce; those without a branch with corner pooling are of attention,
            and belong to the feature maps in this order.
        pooled: Channels that are pooled.
        width: Channels of the hidden 3x3 convolutions; None, for small networks, gives corners
            none, and attention as many as its feature map has.
    """

    def __init__(
        self, channels: Sequence[int], specs: Sequence[MapSpec], pooled: int, width: int | None
    ) -> None:
        super().__init__()
        of_corners = [spec for spec in specs if spec.branch in BRANCHES]
        self.corners = CornerHeads(channels[-1], of_corners, pooled, width)
        self.attention = nn.ModuleDict()
        others = [spec for spec in specs if spec.branch not in BRANCHES]
        for spec, wide in zip(others, channels[:-1], strict=True):
            hidden = hidden_convolution(wide, width or wide, norm=False)
            self.attention[spec.name] = nn.Sequential(hidden, last_convolution(width or wide, spec))

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""
        return self.corners.channels | dict.fromkeys(self.attention, 1)

    def forward(self, features: Sequence[Tensor]) -> Maps:
        """Returns name to (B, channels, h, w), each at the stride of its feature map."""
        maps: Maps = self.corners(features[-1])
        seen = zip(self.attention.items(), features[:-1], strict=True)
        return maps | {name: read(feature) for (name, read), feature in seen}

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Replaces the last convolution of a map of corners; attention knows no classes."""
        self.corners.resize(spec, rows)
