"""Necks: feature maps of several strides in, one feature map of the maps' stride out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional


class DeconvNeck(nn.Module):
    """Transposed convolutions on the deepest feature map, each doubling its sides.

    This is the decoder of "Simple Baselines" (Xiao et al. 2018, section 2) that "Objects as
    Points" (Zhou et al. 2019, section 5) puts on ResNets: 4x4, stride 2, no bias, batch norm,
    ReLU. As in the released code the weights start from N(0, 0.001); the bilinear start belongs
    to the networks with deformable convolutions only.

    Args:
        in_channels: Channels of the deepest feature map.
        channels: Output channels of each step; the published network has (256, 256, 256).
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out_channels in channels:
            deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False)
            nn.init.normal_(deconv.weight, std=0.001)
            layers += [deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
            in_channels = out_channels
        self.layers = nn.Sequential(*layers)
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, channels[-1], h, w), h and w doubled once per step."""
        return cast(Tensor, self.layers(features[-1]))


class OneLevel(nn.Module):
    """Hands on the only feature map of a backbone as it is."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the feature map."""
        (only,) = features
        return only


class EveryLevel(nn.Module):
    """Hands on all feature maps of a backbone as they are: one for each stack."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the feature maps."""
        return list(features)


class TopDownNeck(nn.Module):
    """Adds coarse features to fine ones, narrowing on the way down; made for CPUs.

    Each step runs its 3x3 convolution before the upsampling, where a cell is four times cheaper,
    and narrows to the width of the next level at once. Plain convolutions only: depthwise ones
    save multiplications but not time when PyTorch trains on a CPU.

    Args:
        in_channels: Channels of the backbone's feature maps, fine to coarse, strides doubling.
        widths: Width of the neck at each of these levels.
    """

    def __init__(self, in_channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
            for channels, width in zip(in_channels, widths, strict=True)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(coarse, fine, 3, padding=1, bias=False),
                nn.BatchNorm2d(fine),
                nn.ReLU(inplace=True),
            )
            for fine, coarse in pairwise(widths)
        )
        self.out_channels = widths[0]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, widths[0], h, w) at the stride of the finest feature map."""
        fused = functional.relu(self.laterals[-1](features[-1]))
        for level in range(len(self.steps) - 1, -1, -1):
            upper = functional.interpolate(self.steps[level](fused), scale_factor=2, mode="nearest")
            fused = functional.relu(upper + self.laterals[level](features[level]))
        return fused
