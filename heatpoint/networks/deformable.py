"""Modulated deformable convolution, the layer of CenterNet's DLA and ResNet-DCN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

TAPS = 9
"""Cells of a 3x3 kernel, each with an offset (y, x) and a weight of its own."""


class DeformConv(nn.Module):
    """Convolves 3x3 cells that lie where the features say (Zhu et al. 2019, "DCNv2").

    A plain convolution foretells, for each cell and tap, an offset in cells and a logit; the tap's
    value is read there bilinearly, with zeros outside of the map, and weighted by the sigmoid.
    Offsets and logits start at 0, so that the layer starts as half a plain convolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        bias: Whether there is a bias; the released layers have one even before a batch norm.

    Attributes:
        offset: The convolution that foretells 27 channels: (y, x) of each tap in row-major order,
            then the nine logits.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h, w) for features (B, in_channels, h, w)."""
        foretold = self.offset(features)
        offset, logits = foretold.split((2 * TAPS, TAPS), 1)
        mask = torch.sigmoid(logits)
        return deform_conv2d(features, offset, self.weight, self.bias, padding=1, mask=mask)  # type: ignore[no-any-return]
