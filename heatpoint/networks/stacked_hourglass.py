"""Stacked Hourglass for poses (Newell et al. 2016): a stem, and stacks that refine each other.

The stem is the network's backbone; the stacks are its heads, as each of them ends in maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks import Backbone, Maps, MapSpec
from heatpoint.networks.heads import last_convolution

StemKind = Literal["bearpaw", "paper"]

STEM_WIDTHS: dict[StemKind, tuple[int, int]] = {"bearpaw": (256, 256), "paper": (128, 256)}
"""Output channels of the two residuals behind the pooling."""


class Residual(nn.Module):
    """A pre-activation bottleneck: batch norm and ReLU in front of 1x1, 3x3 and 1x1 convolutions.

    As released (Newell et al. 2016, figure 4 left, in the form of He et al. 2016b): all
    convolutions have a bias, the shortcut is the input itself or a bare 1x1 convolution where the
    widths differ, and nothing follows the addition.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = out_channels // 2
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h, w) for (B, in_channels, h, w)."""
        inner = self.conv1(functional.relu(self.norm1(features), inplace=True))
        inner = self.conv2(functional.relu(self.norm2(inner), inplace=True))
        inner = self.conv3(functional.relu(self.norm3(inner), inplace=True))
        return cast(Tensor, inner + self.shortcut(features))


class HourglassStem(Backbone):
    """A 7x7 convolution, residuals and a pooling: the way from pixels to stride 4.

    The released programs differ in the second residual's width. The paper's (Torch 7) and
    princeton's go 64, 128, 128, 256 channels, bearpaw's 64, 128, 256, 256.

    Args:
        kind: Which of the two.
        multiple: Divisor that both sides of the input must have: 4 << order of the hourglasses.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)

    def __init__(self, kind: StemKind, multiple: int) -> None:
        super().__init__()
        second, third = STEM_WIDTHS[kind]
        self.conv = nn.Conv2d(3, 64, 7, 2, 3)
        self.norm = nn.BatchNorm2d(64)
        self.residual1 = Residual(64, 128)
        self.residual2 = Residual(128, second)
        self.residual3 = Residual(second, third)
        self.channels, self.strides, self.multiple = (third,), (4,), multiple

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, 256, H / 4, W / 4)."""
        features = functional.relu(self.norm(self.conv(images)), inplace=True)
        features = functional.max_pool2d(self.residual1(features), 2)
        return [self.residual3(self.residual2(features))]


class Hourglass(nn.Module):
    """Residuals at full size beside residuals at half size, down to the given depth.

    Args:
        order: Number of poolings on the way to the lowest resolution; 4 in the paper.
        channels: Channels at every level.
        blocks: Residuals at each place; 1 in the released 8-stack network.
    """

    def __init__(self, order: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.beside = residuals(blocks, channels)
        self.before = residuals(blocks, channels)
        self.inner = (
            Hourglass(order - 1, channels, blocks) if order > 1 else residuals(blocks, channels)
        )
        self.behind = residuals(blocks, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, channels, h, w)."""
        lower = self.before(functional.max_pool2d(features, 2))
        lower = self.behind(self.inner(lower))
        upper = functional.interpolate(lower, scale_factor=2, mode="nearest")
        return cast(Tensor, self.beside(features) + upper)


class HourglassStacks(nn.Module):
    """Hourglasses in a row, each followed by its own maps, which the next one sees.

    The input of the next stack is the sum of this one's input, of its features and of its maps,
    the latter two through a 1x1 convolution each (Newell et al. 2016, figure 4 right, with one
    1x1 convolution before the maps, as released, where the paper draws two).

    Args:
        channels: Channels of the input and of every level.
        spec: The map to produce.
        stacks: Number of hourglasses.
        order: Poolings within each.
        blocks: Residuals at each place.
    """

    def __init__(
        self, channels: int, spec: MapSpec, stacks: int, order: int = 4, blocks: int = 1
    ) -> None:
        super().__init__()
        self.name = spec.name
        self.hourglasses = nn.ModuleList(Hourglass(order, channels, blocks) for _ in range(stacks))
        self.residuals = nn.ModuleList(residuals(blocks, channels) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
            )
            for _ in range(stacks)
        )
        self.last = nn.ModuleList(last_convolution(channels, spec) for _ in range(stacks))
        self.from_features = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1)
        )
        self.from_maps = nn.ModuleList(
            nn.Conv2d(spec.channels, channels, 1) for _ in range(stacks - 1)
        )

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""
        return {self.name: cast(nn.Conv2d, self.last[0]).out_channels}

    def forward(self, features: Tensor) -> list[Maps]:
        """Returns the maps of each stack, (B, spec.channels, h, w), for (B, channels, h, w)."""
        stacks: list[Maps] = []
        for index, hourglass in enumerate(self.hourglasses):
            found = self.features[index](self.residuals[index](hourglass(features)))
            maps = self.last[index](found)
            stacks.append({self.name: maps})
            if index + 1 < len(self.hourglasses):
                features = features + self.from_features[index](found) + self.from_maps[index](maps)
        return stacks

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Gives every stack's maps other channels, and what the next stack sees of them.

        Args:
            spec: The map as it shall be.
            rows: For each new channel the old channel it continues, or None for a fresh one.
        """
        self.last = nn.ModuleList(
            _continued(old, last_convolution(old.in_channels, spec), rows, 0)
            for old in cast("Iterable[nn.Conv2d]", self.last)
        )
        self.from_maps = nn.ModuleList(
            _continued(old, nn.Conv2d(spec.channels, old.out_channels, 1), rows, 1)
            for old in cast("Iterable[nn.Conv2d]", self.from_maps)
        )


def residuals(count: int, channels: int) -> nn.Sequential:
    """Returns a row of residuals of one width."""
    return nn.Sequential(*(Residual(channels, channels) for _ in range(count)))


def _continued(
    old: nn.Conv2d, new: nn.Conv2d, rows: Sequence[int | None], dimension: int
) -> nn.Conv2d:
    """Fills the new convolution's channels of the maps from the old ones; 0 is output, 1 input."""
    new = new.to(old.weight)
    assert old.bias is not None
    assert new.bias is not None
    kept = [(channel, row) for channel, row in enumerate(rows) if row is not None]
    into, source = ([pair[side] for pair in kept] for side in (0, 1))
    with torch.no_grad():
        if dimension == 0:
            new.weight[into] = old.weight[source]
            new.bias[into] = old.bias[source]
        else:
            new.weight[:, into] = old.weight[:, source]
            new.bias = old.bias
    return new
