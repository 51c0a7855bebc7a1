"""Modulated deformable convolution, the layer of CenterNet's DLA and ResNet-DCN."""

from __future__ import annotations

from collections.abc import Callable

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
