"""The hourglass of CornerNet-Squeeze: narrow convolutions in place of residuals (Law et al. 2019).

The paper's section 4 takes SqueezeNet's fire module, with MobileNet's depthwise convolution for its
3x3 one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks import convolution
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
