"""Branches of heads that gather along rows and columns: at corners, in cascades, at centres."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks import convolution
from heatpoint.networks.corner_pool import Direction, corner_pool, line_pool


class CornerBranch(nn.Module):
    """A residual block with corner pooling in place of its first convolution, and a convolution.

    CornerNet, section 3.4 and figure 7: a 3x3 convolution for each direction, the sum of the two
    pooled maps, a 3x3 convolution, beside a 1x1 convolution of the input.

    Args:
        channels: Channels of the input and of the output.
        pooled: Channels that are pooled; 128 of 256 in the published network.
        directions: The two directions, up or down and then to a side.
    """

    def __init__(self, channels: int, pooled: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__()
        self.directions = directions
        self.first = convolution(channels, pooled, 3)
        self.second = convolution(channels, pooled, 3)
        self.after = convolution(pooled, channels, 3, relu=False)
        self.shortcut = convolution(channels, channels, 1, relu=False)
        self.last = convolution(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, channels, h, w)."""
        gathered = self.after(self.gather(features)) + self.shortcut(features)
        return cast(Tensor, self.last(functional.relu(gathered, inplace=True)))

    def gather(self, features: Tensor) -> Tensor:
        """Returns what lies along the two directions, (B, pooled, h, w)."""
        first = corner_pool(self.first(features), self.directions[0])
        return first + corner_pool(self.second(features), self.directions[1])


class CascadeBranch(CornerBranch):
    """Looks into the box first from where each of its edges lies: cascade corner pooling.

    Duan et al. 2019, section 3.3 and figure 4 (c): a corner sees along two edges only. Here what
    is pooled along an edge holds, at each of its cells, what another map says from there towards
    the inside. Between the two poolings there is a bare 3x3 convolution, as released.

    The arguments are those of ``CornerBranch``.
    """

    def __init__(self, channels: int, pooled: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__(channels, pooled, directions)
        bare = partial(nn.Conv2d, pooled, pooled, 3, padding=1, bias=False)
        self.first_look = convolution(channels, pooled, 3)
        self.second_look = convolution(channels, pooled, 3)
        self.first_both, self.second_both = bare(), bare()

    def gather(self, features: Tensor) -> Tensor:
        """Returns what lies along the two directions and inside of them, (B, pooled, h, w)."""
        down, across = self.directions
        inside = corner_pool(self.first_look(features), across)
        first = corner_pool(self.first_both(self.first(features) + inside), down)
        inside = corner_pool(self.second_look(features), down)
        return first + corner_pool(self.second_both(self.second(features) + inside), across)


class CenterBranch(CornerBranch):
    """Gathers the maxima of a cell's whole column and row: centre pooling.

    Duan et al. 2019, section 3.3 and figure 4 (a): what tells an object from others need not be
    visible at its centre. The arguments are those of ``CornerBranch``.
    """

    def gather(self, features: Tensor) -> Tensor:
        """Returns the largest of the column plus the largest of the row, (B, pooled, h, w)."""
        columns = line_pool(self.first(features), self.directions[0])
        return columns + line_pool(self.second(features), self.directions[1])


Make = Callable[[int, int], CornerBranch]
"""Makes a branch of so many channels, of which so many are pooled."""

BRANCHES: dict[str, Make] = {
    "top_left": partial(CornerBranch, directions=("top", "left")),
    "bottom_right": partial(CornerBranch, directions=("bottom", "right")),
    "cascade_top_left": partial(CascadeBranch, directions=("top", "left")),
    "cascade_bottom_right": partial(CascadeBranch, directions=("bottom", "right")),
    "center": partial(CenterBranch, directions=("top", "left")),
}
"""What is made of the name of a map's branch."""
