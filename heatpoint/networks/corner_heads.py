"""Heads for corners: what the edges of an object say is gathered where they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks.corner_pool import Direction, corner_pool
from heatpoint.networks.heads import Heads, hidden_convolution
from heatpoint.networks.maps import Maps, MapSpec

DIRECTIONS: dict[str, tuple[Direction, Direction]] = {
    "top_left": ("top", "left"),
    "bottom_right": ("bottom", "right"),
}
"""What meets at a corner, by the name of a map's branch."""


class CornerBranch(nn.Module):
    """A residual block with corner pooling in place of its first convolution, and a convolution.

    CornerNet, section 3.4 and figure 7: a 3x3 convolution for each direction, the sum of the two
    pooled maps, a 3x3 convolution, beside a 1x1 convolution of the input.

    Args:
        channels: Channels of the input and of the output.
        pooled: Channels that are pooled; 128 of 256 in the published network.
        directions: The two directions.
    """

    def __init__(self, channels: int, pooled: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__()
        self.directions = directions
        self.first = hidden_convolution(channels, pooled, norm=True)
        self.second = hidden_convolution(channels, pooled, norm=True)
        self.after = nn.Sequential(
            nn.Conv2d(pooled, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.last = hidden_convolution(channels, channels, norm=True)

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, channels, h, w)."""
        first = corner_pool(self.first(features), self.directions[0])
        second = corner_pool(self.second(features), self.directions[1])
        gathered = self.after(first + second) + self.shortcut(features)
        return cast(Tensor, self.last(functional.relu(gathered, inplace=True)))


class CornerHeads(Heads):
    """Lets the maps of each corner share a branch with corner pooling.

    Args:
        in_channels: Channels of the feature map.
        specs: The maps to produce; their branches are keys of ``DIRECTIONS``.
        pooled: Channels that are pooled.
        width: Channels of the hidden 3x3 convolution in front of each last one, 256 as published;
            None for no hidden convolution, which suits small networks.
    """

    def __init__(
        self, in_channels: int, specs: Sequence[MapSpec], pooled: int, width: int | None
    ) -> None:
        super().__init__(in_channels if width is None else width, specs)
        self.branch_of = {spec.name: spec.branch for spec in specs}
        self.branches = nn.ModuleDict(
            {
                branch: CornerBranch(in_channels, pooled, DIRECTIONS[branch])
                for branch in sorted(set(self.branch_of.values()))
            }
        )
        self.hidden = nn.ModuleDict(
            {
                spec.name: nn.Identity()
                if width is None
                else hidden_convolution(in_channels, width, norm=False)
                for spec in specs
            }
        )

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, in_channels, h, w)."""
        gathered = {name: branch(features) for name, branch in self.branches.items()}
        return {
            name: last(self.hidden[name](gathered[self.branch_of[name]]))
            for name, last in self.last.items()
        }
