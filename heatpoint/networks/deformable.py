"""Modulated deformable convolution, the layer of CenterNet's DLA and ResNet-DCN, and their necks.

The necks take plain convolutions, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = 9
"""Cells of a 3x3 kernel, each with an offset (y, x) and a weight of its own."""

BORDER = 2
"""Cells of zeros that ``by_taps`` puts around a map: as many as a tap may be outside of it."""


Way = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Computes a deformable convolution of features, offsets, mask, weight and bias."""


class DeformConv(nn.Module):
    """Convolves 3x3 cells that lie where the features say (Zhu et al. 2019, "DCNv2").

    A plain convolution foretells, for each cell and tap, an offset in cells and a logit; the tap's
    value is read there bilinearly, with zeros outside of the map, and weighted by the sigmoid.
    Offsets and logits start at 0, so that the layer starts as half a plain convolution.

    Offsets and sampling are in float32 at least, under autocast too; of ``by_taps`` the product is
    in the type of the weights, or in autocast's.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        bias: Whether there is a bias; the released layers have one even before a batch norm.

    Attributes:
        offset: The convolution that foretells 27 channels: (y, x) of each tap in row-major order,
            then the nine logits.
        way: ``by_taps`` or ``by_operator``; None for the former on a processor, where it is
            quicker, and the latter elsewhere.
    """

    way: Way | None = None

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h, w) for features (B, in_channels, h, w), in their type."""
        exact = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            foretold = self.offset(features.to(self.offset.weight.dtype)).to(exact)
        offset, logits = foretold.narrow(1, 0, 2 * TAPS), foretold.narrow(1, 2 * TAPS, TAPS)
        way = self.way or (by_taps if features.device.type == "cpu" else by_operator)
        output = way(features.to(exact), offset, torch.sigmoid(logits), self.weight, self.bias)
        return output.to(features.dtype)


def set_way(network: nn.Module, way: Way | None) -> None:
    """Lets all deformable convolutions of a network be computed in one way; see ``DeformConv``."""
    for module in network.modules():
        if isinstance(module, DeformConv):
            module.way = way


def by_operator(
    features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Returns a deformable convolution by torchvision's operator, which runtimes have too.

    Args:
        features: (B, in_channels, h, w), float32 or float64.
        offset: (B, 18, h, w) cells of the same type, (y, x) of each tap.
        mask: (B, 9, h, w) weights of the taps in [0, 1], of the same type.
        weight: (out_channels, in_channels, 3, 3).
        bias: (out_channels,).

    Returns:
        (B, out_channels, h, w) in the type of the features.
    """
    # Its import takes as long as torch's own, and on a processor nothing else needs it.
    from torchvision.ops import deform_conv2d

    weight, bias = weight.to(features), None if bias is None else bias.to(features)
    output: Tensor = deform_conv2d(features, offset, weight, bias, padding=1, mask=mask)
    return output


def by_taps(
    features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Returns the same by weighted sums of four cells, in channels last, and one product.

    The sums are those of ``embedding_bag``, whose rows are the cells. Values and gradients are
    those of the operator to 1e-6 of their largest, on whole numbers and beyond the border as well.
    What is saved for the way back are the taps, 9 times the features.

    On one core of an AMD EPYC (AVX2, torch 2.15) 64 to 64 channels at 128x128 take 61 ms forward
    and 256 ms both ways, the operator 243 and 1714, nine taps of one ``grid_sample`` 141 and 531;
    256 to 256 channels at 32x32 22 and 70, 58 and 430, 30 and 114: see benchmarks/deformable.py.

    Args:
        features: As for ``by_operator``, like ``offset`` and ``mask``.
        offset: (y, x) of each tap.
        mask: Weights of the taps.
        weight: Its type is that of the product.
        bias: As for ``by_operator``.
    """
    batch, channels, height, width = features.shape
    device = features.device
    tap = torch.arange(TAPS, device=device)
    rows = torch.arange(height, device=device)[:, None, None] + tap // 3 - 1
    columns = torch.arange(width, device=device)[:, None] + tap % 3 - 1
    pairs = offset.view(batch, TAPS, 2, height, width).permute(0, 3, 4, 1, 2)
    y, x = pairs.unbind(-1)
    # A border of two zeros stands for all that lies outside. At -1 there is no value, but the
    # gradient that the operator has there.
    y, x = (y + rows).clamp(-BORDER, height), (x + columns).clamp(-BORDER, width)
    top, left = y.detach().floor(), x.detach().floor()
    table = functional.pad(features.permute(0, 2, 3, 1), (0, 0) + 4 * (BORDER,))
    across = table.shape[2]
    # What is not a number is read anywhere; its shares are none either.
    row, column = (BORDER + each.nan_to_num(0).long() for each in (top, left))
    image = torch.arange(batch, device=device)[:, None, None, None]
    cell = (image * table.shape[1] + row) * across + column
    cells = torch.stack((cell, cell + 1, cell + across, cell + across + 1), -1)
    right = x - left
    mask = mask.permute(0, 2, 3, 1)
    lower = mask * (y - top)
    upper = mask - lower
    shares = (upper - upper * right, upper * right, lower - lower * right, lower * right)
    taps = functional.embedding_bag(
        cells.view(-1, 4),
        table.reshape(-1, channels),
        mode="sum",
        per_sample_weights=torch.stack(shares, -1).view(-1, 4),
    )
    kernel = weight.permute(0, 2, 3, 1).flatten(1)
    product = functional.linear(taps.view(-1, TAPS * channels).to(weight.dtype), kernel, bias)
    return product.view(batch, height, width, len(weight)).permute(0, 3, 1, 2)


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
