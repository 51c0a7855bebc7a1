"""Heads of CornerNet-Saccade: corners at the finest level, attention at each (Law et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from heatpoint.networks import Maps, MapSpec
from heatpoint.networks.corner_branches import BRANCHES
from heatpoint.networks.features import TopDownNeck
from heatpoint.networks.heads import CornerHeads, hidden_convolution, last_convolution


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
