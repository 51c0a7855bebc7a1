"""The necks made for deformable convolutions: of ResNet-DCN and of DLA; plain ones fit too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from heatpoint.networks.deformable import DeformConv

Make3x3 = Callable[[int, int], nn.Module]
"""Makes a 3x3 convolution for channels in and out: ``DeformConv``, one without bias, ``plain``."""


def plain(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Returns a 3x3 convolution without bias, for machines that have no deformable one."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def bilinear_upsampling(channels: int, factor: int, groups: int) -> nn.ConvTranspose2d:
    """Returns a transposed convolution whose first kernels start as bilinear interpolation.

    As released, what the channels of the input give to the first channel of their group is set,
    and the rest starts at random: with one group for each channel that is all there is, with one
    group for all the first channel starts as the sum over the whole input.

    Args:
        channels: Channels of the input and of the output.
        factor: Cells of the output for each of the input, on both axes.
        groups: Groups of channels.
    """
    side, padding = 2 * factor, factor // 2
    up = nn.ConvTranspose2d(channels, channels, side, factor, padding, groups=groups, bias=False)
    ramp = 1 - (torch.arange(side) - factor + 0.5).abs() / factor
    with torch.no_grad():
        up.weight[:, 0] = torch.outer(ramp, ramp)
    return up


def _active(layer: nn.Module, channels: int) -> nn.Sequential:
    """Returns a layer with a batch norm and a ReLU behind it."""
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class PairedNeck(nn.Module):
    """A 3x3 and a transposed 4x4 convolution in turn, on the deepest feature map: ResNet-DCN's.

    "Objects as Points" (Zhou et al. 2019, section 5) puts a deformable convolution before each
    step of ``DeconvNeck`` and narrows it. Batch norm and ReLU follow each of the six layers.

    Args:
        in_channels: Channels of the deepest feature map.
        channels: Output channels of each step; the published network has (256, 128, 64).
        make: Makes the 3x3 convolutions.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], make: Make3x3 = DeformConv
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out_channels in channels:
            layers += _active(make(in_channels, out_channels), out_channels)
            layers += _active(bilinear_upsampling(out_channels, 2, groups=1), out_channels)
            in_channels = out_channels
        self.layers = nn.Sequential(*layers)
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, channels[-1], h, w), h and w doubled once per step."""
        return cast(Tensor, self.layers(features[-1]))


class Aggregation(nn.Module):
    """Iterative deep aggregation (Yu et al. 2018, section 3.1): coarse maps join fine ones in turn.

    Each map is projected to the common width, enlarged and added to the outcome so far, and a 3x3
    convolution mixes the sum.

    Args:
        width: Channels of the first map, and of every outcome.
        channels: Channels of the maps behind the first.
        factors: Cells of the first map for each of these maps' cells, on both axes.
        make: Makes the 3x3 convolutions.
    """

    def __init__(
        self, width: int, channels: Sequence[int], factors: Sequence[int], make: Make3x3
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(_active(make(each, width), width) for each in channels)
        self.up = nn.ModuleList(bilinear_upsampling(width, each, width) for each in factors)
        self.node = nn.ModuleList(_active(make(width, width), width) for _ in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the first map and each outcome, all of the first map's shape."""
        outcomes = [features[0]]
        steps = zip(self.project, self.up, self.node, features[1:], strict=True)
        for project, up, node, feature in steps:
            outcomes.append(node(up(project(feature)) + outcomes[-1]))
        return outcomes


class AggregationNeck(nn.Module):
    """The neck of CenterNet's DLA-34: all feature maps become one of the finest's stride.

    From coarse to fine, each level aggregates everything behind it. The last outcome of each but
    the coarsest map itself is kept, and a last aggregation joins those (Zhou et al. 2019, figure 6
    c and d). The deepest map is used inside of the levels only, as released.

    With ``plain`` convolutions this is the same network without its deformable ones. The plain
    networks in circulation (``dlav0_34``, CenterTrack's "conv" nodes) differ in more than that,
    and none has published weights.

    Args:
        channels: Channels of the backbone's feature maps, fine to coarse, strides doubling.
        make: Makes the 3x3 convolutions.
    """

    def __init__(self, channels: Sequence[int], make: Make3x3 = DeformConv) -> None:
        super().__init__()
        behind = range(len(channels) - 1, 0, -1)
        self.levels = nn.ModuleList(
            Aggregation(
                channels[level - 1],
                [channels[level]] * (len(channels) - level),
                [2] * (len(channels) - level),
                make,
            )
            for level in behind
        )
        factors = [2**level for level in range(1, len(channels) - 1)]
        self.last = Aggregation(channels[0], channels[1:-1], factors, make)
        self.out_channels = channels[0]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, channels[0], h, w) at the stride of the finest feature map."""
        maps = list(features)
        kept: list[Tensor] = []
        for number, level in enumerate(self.levels):
            first = len(features) - 2 - number
            maps[first:] = level(maps[first:])
            kept.insert(0, maps[-1])
        return cast(Tensor, self.last(kept)[-1])
