"""Heads: one feature map in, the maps a codec asks for out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from heatpoint.networks import Maps, MapSpec, convolution
from heatpoint.networks.corner_pool import BRANCHES


@runtime_checkable
class Producer(Protocol):
    """What a detector asks of the module that ends in maps: ``Heads``, or stacks of hourglasses."""

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Gives one map other channels, each continuing an old one or starting afresh."""


class Heads(nn.Module):
    """A last 1x1 convolution per map behind hidden 3x3 convolutions.

    Bias and spread of a last convolution's initial weights are the map's own: in the released
    CenterNet for ResNets, maps other than heatmaps start from N(0, 0.001).

    Attributes:
        hidden: Module in front of each last convolution by map name; one module may be shared.
        last: Last convolution by map name, ``(channels, width, 1, 1)``.

    Args:
        width: Channels in front of the last convolutions, of all or by map name.
        specs: The maps to produce.
    """

    def __init__(self, width: int | Mapping[str, int], specs: Sequence[MapSpec]) -> None:
        super().__init__()
        widths = (
            dict.fromkeys((spec.name for spec in specs), width) if isinstance(width, int) else width
        )
        self.last = nn.ModuleDict(
            {spec.name: last_convolution(widths[spec.name], spec) for spec in specs}
        )

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""
        return {name: cast(nn.Conv2d, last).out_channels for name, last in self.last.items()}

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Replaces the last convolution of one map by one with other channels.

        Args:
            spec: The map as it shall be.
            rows: For each new channel the old channel it continues, or None for a fresh one.
        """
        old = cast(nn.Conv2d, self.last[spec.name])
        self.last[spec.name] = continued(old, last_convolution(old.in_channels, spec), rows)


class MapHeads(Heads):
    """Gives every map its own hidden 3x3 convolution: the published heads.

    Args:
        in_channels: Channels of the feature map.
        specs: The maps to produce.
        width: Channels of the hidden convolutions; 64 as published for ResNets.
        norm: Puts a batch norm behind each hidden convolution, which then has no bias.
    """

    def __init__(
        self, in_channels: int, specs: Sequence[MapSpec], width: int = 64, norm: bool = False
    ) -> None:
        super().__init__(width, specs)
        self.hidden = nn.ModuleDict(
            {spec.name: hidden_convolution(in_channels, width, norm) for spec in specs}
        )

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, in_channels, h, w)."""
        return {name: last(self.hidden[name](features)) for name, last in self.last.items()}


class BareHeads(Heads):
    """Reads the maps off the neck without a hidden convolution, as "Simple Baselines" do."""

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, width, h, w)."""
        return {name: last(features) for name, last in self.last.items()}


class SharedHeads(Heads):
    """Lets maps share a hidden 3x3 convolution with batch norm, for small networks.

    Maps that name a branch have one of their own, which is trained for nothing else.

    Args:
        in_channels: Channels of the feature map.
        specs: The maps to produce.
        width: Channels of each hidden convolution.
    """

    def __init__(self, in_channels: int, specs: Sequence[MapSpec], width: int) -> None:
        super().__init__(width, specs)
        self.branch_of = {spec.name: spec.branch for spec in specs}
        self.hidden = convolution(in_channels, width, 3)
        self.apart = nn.ModuleDict(
            {
                branch: convolution(in_channels, width, 3)
                for branch in sorted(set(self.branch_of.values()) - {""})
            }
        )

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, in_channels, h, w)."""
        hidden = {name: branch(features) for name, branch in self.apart.items()}
        hidden[""] = self.hidden(features)
        return {name: last(hidden[self.branch_of[name]]) for name, last in self.last.items()}


class StackHeads(nn.Module):
    """Heads for each of several feature maps, so that every stack of a network is supervised.

    Attributes:
        stacks: Heads of the same maps, one for each of the last feature maps.
    """

    def __init__(self, stacks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(stacks)

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""
        return cast(Producer, self.stacks[-1]).channels

    def forward(self, features: Sequence[Tensor]) -> list[Maps]:
        """Returns the maps of each stack."""
        last = features[len(features) - len(self.stacks) :]
        return [heads(feature) for heads, feature in zip(self.stacks, last, strict=True)]

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Replaces the last convolution of one map in every stack; see ``Heads.resize``."""
        for heads in self.stacks:
            cast(Producer, heads).resize(spec, rows)

    def keep_last(self) -> None:
        """Drops the heads of all stacks but the last, which alone is the network's answer."""
        self.stacks = self.stacks[-1:]


def hidden_convolution(in_channels: int, width: int, norm: bool, kernel: int = 3) -> nn.Sequential:
    """Returns a convolution with bias, or with batch norm instead, and a ReLU."""
    if norm:
        return convolution(in_channels, width, kernel)
    bare = nn.Conv2d(in_channels, width, kernel, padding=kernel // 2)
    return nn.Sequential(bare, nn.ReLU(inplace=True))


def last_convolution(width: int, spec: MapSpec) -> nn.Conv2d:
    """Returns the 1x1 convolution that ends in a map, with the initial values of its spec."""
    last = nn.Conv2d(width, spec.channels, 1)
    nn.init.constant_(cast(Tensor, last.bias), spec.bias)
    if spec.std is not None:
        nn.init.normal_(last.weight, std=spec.std)
    return last


def continued(
    old: nn.Conv2d, new: nn.Conv2d, rows: Sequence[int | None], dimension: int = 0
) -> nn.Conv2d:
    """Returns the new convolution with what the old one has learnt about channels that stay.

    Args:
        old: The convolution so far.
        new: One that starts afresh.
        rows: For each new channel the old channel it continues, or None for a fresh one.
        dimension: 0 where these are channels of the output, 1 of the input.
    """
    new = new.to(old.weight)
    into = [channel for channel, row in enumerate(rows) if row is not None]
    source = [row for row in rows if row is not None]
    with torch.no_grad():
        new.weight.transpose(0, dimension)[into] = old.weight.transpose(0, dimension)[source]
        if dimension == 0:
            cast(Tensor, new.bias)[into] = cast(Tensor, old.bias)[source]
        else:
            new.bias = old.bias
    return new


class CornerHeads(Heads):
    """Lets the maps of each corner, and of the centre, share a branch that pools.

    Args:
        in_channels: Channels of the feature map.
        specs: The maps to produce; their branches are keys of ``BRANCHES``.
        pooled: Channels that are pooled.
        width: Channels of the hidden convolution in front of each last one, 256 as published;
            None for no hidden convolution, which suits small networks.
        kernel: Side of the hidden convolutions' kernels; 1 in CornerNet-Squeeze.
    """

    def __init__(
        self,
        in_channels: int,
        specs: Sequence[MapSpec],
        pooled: int,
        width: int | None,
        kernel: int = 3,
    ) -> None:
        super().__init__(in_channels if width is None else width, specs)
        self.branch_of = {spec.name: spec.branch for spec in specs}
        self.branches = nn.ModuleDict()
        for branch in sorted(set(self.branch_of.values())):
            self.branches[branch] = BRANCHES[branch](in_channels, pooled)
        self.hidden = nn.ModuleDict({spec.name: nn.Identity() for spec in specs})
        if width is not None:
            for spec in specs:
                self.hidden[spec.name] = hidden_convolution(
                    in_channels, width, norm=False, kernel=kernel
                )

    def forward(self, features: Tensor) -> Maps:
        """Returns name to (B, channels, h, w) for features of (B, in_channels, h, w)."""
        gathered = {name: branch(features) for name, branch in self.branches.items()}
        return {
            name: last(self.hidden[name](gathered[self.branch_of[name]]))
            for name, last in self.last.items()
        }
